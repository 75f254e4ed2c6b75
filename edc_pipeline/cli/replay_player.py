"""Playing events in a terminal: what is let go when, the line that tells it, and the keys."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from edc_pipeline.cli.keys import MINUTE_NS, keys, move
from edc_pipeline.cli.options import FallsShort

if TYPE_CHECKING:
    from edc_pipeline.replay.pacing import ThreadPacer
    from edc_pipeline.replay.records import Block, Labels
    from edc_pipeline.replay.tick_source import EventSource

_SHOW_EVERY_S: Final = 0.2
_HELP: Final = "space pause · . step · ←/→ a minute · +/- speed · q end"


@dataclass(frozen=True, slots=True)
class Between:
    from_ns: int | None
    to_ns: int | None
    symbols: tuple[str, ...] | None

    @property
    def left_out(self) -> str:
        told = [] if self.symbols is None else [f"symbols other than {', '.join(self.symbols)}"]
        if self.from_ns is not None or self.to_ns is not None:
            told.append(f"what is not from {self.from_ns} to {self.to_ns}")
        return "; ".join(told)


class Ended(Exception):
    """The user pressed q."""


# -- playing --------------------------------------------------------------------------------------


class Show:
    """The line that tells where a replay stands, and the keys that move it."""

    def __init__(self, playback: Any, *, as_json: bool, to_terminal: bool) -> None:
        from edc_pipeline.replay.pacing import ThreadPacer  # noqa: PLC0415

        self.playback = playback
        self.as_json = as_json
        self.events = 0
        self.ended = False
        self.reopen_at: int | None = None
        self.may_seek = False
        self.pacer: ThreadPacer = ThreadPacer(playback, self.tick)
        self.began_s = time.monotonic()
        self.played_s = 0.0  # once it is over
        self._to_terminal = to_terminal
        self._shown_s = self.began_s
        self._shown_events = 0
        self._rate = 0.0

    def tick(self) -> None:
        """Look at the keys' wishes, and show where it stands, now and then."""
        if self.ended:
            raise Ended
        now = time.monotonic()
        if now - self._shown_s < _SHOW_EVERY_S:
            return
        self._rate = (self.events - self._shown_events) / (now - self._shown_s)
        self._shown_s, self._shown_events = now, self.events
        if self._to_terminal:
            click.echo(f"\r\x1b[K{self._line()}", nl=False)

    def _line(self) -> str:
        from edc_pipeline.cli import terminal  # noqa: PLC0415

        playback = self.playback
        speed = "max" if playback.speed is None else f"{playback.speed:g}×"
        state = "paused" if playback.paused else f"behind {playback.behind_s * 1000:.1f} ms"
        return (
            f"{terminal.market_time(playback.position_ns)}  {speed}  {state}"
            f"  {self._rate:,.0f}/s  {self.events:,} events   {_HELP}"
        )[: columns() - 1]

    def clear(self) -> None:
        if self._to_terminal:
            click.echo("\r\x1b[K", nl=False)

    def on_key(self, key: str) -> None:
        at = self.playback.position_ns
        if key == "q":
            self.ended = True
            self.pacer.do(lambda p: p.resume())
        elif key in {"left", "right"} and not self.may_seek:
            return
        elif key == "left" and at is not None:
            self.reopen_at = at - MINUTE_NS
            self.pacer.do(lambda p: p.rewind(at - MINUTE_NS))
        else:
            move(self.pacer, key)

    def summary(self, **more: Any) -> dict[str, Any]:
        took = self.played_s or time.monotonic() - self.began_s
        playback = self.playback
        late = {} if not playback.late_s else {"late_ms_p99": playback.lateness_s(0.99) * 1000}
        return {
            "event": "summary",
            "events": self.events,
            "seconds": round(took, 3),
            "events_per_s": round(self.events / max(took, 1e-9)),
            **{name: round(value, 3) for name, value in late.items()},
            **more,
        }


class Player:
    """Events in the order of their time, let go when they are due."""

    def __init__(self, sources: Sequence[EventSource], between: Between, show: Show) -> None:
        from edc_pipeline.replay.records import Labels  # noqa: PLC0415

        self.sources = sources
        self.between = between
        self.show = show
        self.labels: Labels = Labels()

    def blocks(self) -> Iterator[Block]:
        from edc_pipeline.replay.merge import WentBack  # noqa: PLC0415
        from edc_pipeline.replay.tick_file import TickFileMistake  # noqa: PLC0415

        with keys(self.show.on_key):
            from_ns = self.between.from_ns
            try:
                while True:
                    yield from self._played(from_ns)
                    if self.show.reopen_at is None:
                        return
                    from_ns, self.show.reopen_at = self.show.reopen_at, None
                    self.show.pacer.do(lambda p: p.rewound())
            except Ended:
                return
            except WentBack as error:
                name = self.sources[error.source].name
                raise FallsShort(
                    f"{name}: its times go back, from {error.before} to {error.after} ns; a source"
                    " must be in the order of time: sort the file"
                ) from None
            except TickFileMistake as mistake:
                raise FallsShort(str(mistake)) from None

    def _played(self, from_ns: int | None) -> Iterator[Block]:
        from edc_pipeline.replay.tick_source import merged  # noqa: PLC0415

        show, between = self.show, self.between
        for block in merged(
            self.sources,
            self.labels,
            symbols=between.symbols,
            from_ns=from_ns,
            to_ns=between.to_ns,
        ):
            for part in _parts(block, show.playback):
                if show.pacer.until(int(part["ts_event"][-1])):
                    show.events += len(part)
                    yield part
                show.tick()
                if show.reopen_at is not None:
                    return


def _parts(block: Block, playback: Any) -> Iterator[Block]:
    """At full speed whole blocks; else all events of one instant at a time."""
    import numpy as np  # noqa: PLC0415

    at = 0
    times = block["ts_event"]
    edges = np.append(np.flatnonzero(times[1:] != times[:-1]) + 1, len(times)).tolist()
    for edge in edges:
        if playback.speed is None and not playback.paused:
            yield block[at:]
            return
        yield block[at:edge]
        at = edge


def columns() -> int:
    """Of the terminal."""
    return shutil.get_terminal_size((100, 24)).columns
