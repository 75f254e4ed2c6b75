"""Recorded frames served byte for byte, to whoever asks for them as they were asked for.

The conversation (greeting, key, subscription, refusal, heartbeat) is the speaker's, as on any day
of the fake exchange. What it says of the market is the recording: a client whose subscription
equals that of a recorded connection gets what that connection received with events in it; a client
that asks otherwise gets what all connections to the same service received.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.market_day import market_day
from edc_pipeline.replay.recorded_frames import NoFrames, Received, spans_of
from edc_pipeline.replay.tick_source import SPOKEN, instrument_of
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import TICK_DTYPE, Said, Tick, Ticks, rows
from edc_pipeline.simulator.session import Asked, Reply, Session, Terms, Vendor
from edc_pipeline.simulator.speakers import SPEAKERS
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Session as OurSession
from edc_pipeline.vendors.contract import Subscription

_NO_NUMBERS: Final = rows(np.zeros(1, TICK_DTYPE))[0]
Asking = tuple[str, tuple[str, ...], str]  # feed, symbols, options: what a connection asked for


@dataclass(frozen=True, slots=True)
class RecordedFrame(Said):
    """A tick that is a frame; its numbers are not looked at."""

    asking: Asking = ("", (), "")
    frame: bytes = b""


def asking_of(line: Line) -> Asking:
    return (line.feed, line.symbols, repr(sorted(line.options.items())))


class RecordedFrames:
    """The frames of a day that one vendor sent and that held events, as a source of ticks."""

    def __init__(self, spool: Path, day: dt.date, vendor: str, *, to_ns: int | None = None) -> None:
        self._vendor = vendor
        self._to_ns = to_ns
        self._day = day
        spans = spans_of(spool, day)
        self.lines: dict[Asking, Line] = {}
        symbols: dict[str, str] = {}
        for line in _lines(spool, day, vendor):
            self.lines.setdefault(asking_of(line), line)
            spec = VENDORS[vendor].feeds[line.feed]
            for symbol in line.symbols:
                symbols[symbol] = line.asset_classes.get(symbol, spec.asset_class)
        if not self.lines:
            raise NoFrames(f"{spool} keeps no frames of {day} that {vendor} sent")
        self.instruments: tuple[Instrument, ...] = tuple(
            instrument_of(symbol, asset_class)
            for symbol, asset_class in sorted(symbols.items())
            if asset_class in SPOKEN
        )
        self._number_of = {i.symbol: n for n, i in enumerate(self.instruments)}
        self._frames = self._with_events(
            heapq.merge(*(_of_day(span.frames(), day) for span in spans), key=_received_at)
        )
        self._ahead: Received | None = None
        self._ahead_symbol = ""
        self._handed: list[tuple[Received, str]] = []

    def _with_events(self, frames: Iterator[Received]) -> Iterator[tuple[Received, str]]:
        sessions = PastSessions()
        for received in frames:
            line = received.line
            if self._to_ns is not None and received.received_at >= self._to_ns:
                return
            if line.vendor != self._vendor:
                continue
            session = sessions.of(line)
            if session is None:
                continue
            reading = session.read(received.payload, received.received_at)
            if reading.events:
                yield received, reading.events[0].symbol

    # -- a tick source that tells more --------------------------------------------------------

    def take(self, count: int) -> Ticks:
        self._handed = []
        while len(self._handed) < count and (following := self._next()) is not None:
            self._handed.append(following)
        ticks = np.zeros(len(self._handed), TICK_DTYPE)
        ticks["at_ns"] = [received.received_at for received, _ in self._handed]
        ticks["ts_ns"] = ticks["at_ns"]
        return ticks

    def until(self, ns: int) -> Ticks:
        taken: list[tuple[Received, str]] = []
        while (following := self._next()) is not None:
            if following[0].received_at >= ns:
                self._ahead, self._ahead_symbol = following
                break
            taken.append(following)
        self._handed = taken
        ticks = np.zeros(len(taken), TICK_DTYPE)
        ticks["at_ns"] = [received.received_at for received, _ in taken]
        return ticks

    def jump_to(self, ns: int) -> None:
        self.until(ns)

    def rows(self, ticks: Ticks) -> list[Tick]:
        assert len(ticks) == len(self._handed), "frames are told in the portions they came in"
        return [self._tick(received, symbol) for received, symbol in self._handed]

    def first_ns(self) -> int | None:
        following = self._next()
        if following is None:
            return None
        self._ahead, self._ahead_symbol = following
        return following[0].received_at

    def _next(self) -> tuple[Received, str] | None:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead, self._ahead_symbol
        return next(self._frames, None)

    def _tick(self, received: Received, symbol: str) -> Tick:
        said = RecordedFrame(asking=asking_of(received.line), frame=received.payload)
        at = received.received_at
        instrument = self._number_of.get(symbol, 0)
        return _NO_NUMBERS._replace(at_ns=at, ts_ns=at, instrument=instrument, said=said)


class FrameVendor:
    """A vendor whose data frames are recorded ones."""

    def __init__(
        self, name: str, recorded: RecordedFrames, *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self._speaker: Vendor = SPEAKERS[name](recorded.instruments, terms=terms, seed=seed)
        self.paths: Mapping[str, str] = self._speaker.paths
        # Another one, whom the recorded connections are introduced to: a vendor may count its own.
        shadow = SPEAKERS[name](recorded.instruments, terms=terms, seed=seed)
        key = (terms.token if terms else None) or "replay"
        self._lines: dict[str, dict[Asking, Hashable | None]] = {}
        for asking, line in recorded.lines.items():
            service = _service_of(line, self.paths)
            if service is not None:
                subscription = _subscribed(shadow, service, line, key)
                self._lines.setdefault(service, {})[asking] = subscription

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return self._speaker.refusal(asked)

    def session(self, service: str, ordinal: int, asked: Asked) -> FrameSession:
        inner = self._speaker.session(service, ordinal, asked)
        return FrameSession(inner, self._lines.get(service, {}))


class FrameSession:
    def __init__(self, inner: Session, lines: Mapping[Asking, Hashable | None]) -> None:
        self._inner = inner
        self._lines = lines
        self._wanted: tuple[Hashable | None, frozenset[Asking]] = (None, frozenset())

    @property
    def service(self) -> str:
        return self._inner.service

    @property
    def subscription(self) -> Hashable | None:
        return self._inner.subscription

    @property
    def refused(self) -> bool:
        return self._inner.refused

    @refused.setter
    def refused(self, so: bool) -> None:
        self._inner.refused = so

    def greeting(self) -> list[Reply]:
        return self._inner.greeting()

    def on_message(self, message: str | bytes) -> list[Reply]:
        return self._inner.on_message(message)

    def heartbeat(self) -> Reply | None:
        return self._inner.heartbeat()

    def on_tick(self, tick: Tick) -> str | bytes | None:
        subscription, said = self.subscription, tick.said
        if subscription is None or not isinstance(said, RecordedFrame):
            return None
        if subscription != self._wanted[0]:
            same = {asking for asking, theirs in self._lines.items() if theirs == subscription}
            self._wanted = (subscription, frozenset(same or self._lines))
        return _as_sent(said.frame) if said.asking in self._wanted[1] else None


def _as_sent(frame: bytes) -> str | bytes:
    """Text where it is JSON, else a binary frame: the journal keeps no opcodes."""
    if frame.lstrip()[:1] in (b"{", b"["):
        try:
            return frame.decode()
        except UnicodeDecodeError:
            pass
    return frame


def _received_at(received: Received) -> int:
    return received.received_at


def _of_day(frames: Iterator[tuple[bool, Received]], day: dt.date) -> Iterator[Received]:
    latest = -(2**63)
    for belongs, received in frames:
        if not belongs or market_day(received.received_at) != day:
            continue
        # A clock that was set back does not turn the frames' order round.
        latest = max(latest, received.received_at)
        yield received._replace(received_at=latest)


def _lines(spool: Path, day: dt.date, vendor: str) -> Iterator[Line]:
    seen: set[tuple[str, int]] = set()
    for span in spans_of(spool, day):
        for line in span.lines():
            key = (span.collector, line.number)
            if line.vendor == vendor and key not in seen:
                seen.add(key)
                yield line


def _service_of(line: Line, paths: Mapping[str, str]) -> str | None:
    address = urlsplit(VENDORS[line.vendor].feeds[line.feed].url).path or "/"
    exact = paths.get(address)
    return exact or next(
        (s for p, s in paths.items() if p.endswith("/") and address.startswith(p)), None
    )


def _subscribed(vendor: Vendor, service: str, line: Line, key: str) -> Hashable | None:
    """The subscription that a recorded connection had, as the speaker sees it."""
    ours = _open_session(line, key)
    path = next(p for p, s in vendor.paths.items() if s == service)
    theirs = vendor.session(service, 1, Asked(path, {}))
    theirs.greeting()
    for message in ours.opening():
        theirs.on_message(message)
    return theirs.subscription


def _open_session(line: Line, key: str) -> OurSession:
    classes = dict(line.asset_classes)
    asked = Subscription(line.feed, line.symbols, line.options, classes)  # type: ignore[arg-type]
    return VENDORS[line.vendor].open_session(asked, key)
