"""`edc simulate --post-to`: a vendor that calls us."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from edc_pipeline.cli.options import WrongCall
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import Market, Pace, TellsMore, Tick, rows
from edc_pipeline.simulator.posting import Patience, Posted, post_all
from edc_pipeline.simulator.senders import SENDERS, Sender, posts_of

if TYPE_CHECKING:
    from edc_pipeline.cli.simulate_replay import Day

_EVERY_S = 0.1
_AT_ONCE = 64


def post_ticks(
    url: str,
    *,
    vendor: str,
    secret: str,
    symbols: str | None,
    seed: int,
    rate: float,
    seconds: float | None,
    events: int | None,
    as_json: bool,
    recorded: Day | None = None,
) -> bool:
    """Until told to stop, enough was posted, or the day is over; True when that was SIGINT."""
    if vendor not in SENDERS:
        raise WrongCall(f"--post-to: {vendor} posts no webhooks; these do: {', '.join(SENDERS)}")
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise WrongCall(f"--post-to: {url!r} is no http:// address")
    if not secret:
        raise WrongCall("--post-to: the shared secret is missing: set EDC_SIM_TOKEN to it")
    try:
        listed = listing(None if symbols is None else symbols.split(","))
    except ValueError as error:
        raise WrongCall(str(error)) from None
    market: _Live | _Recorded
    if recorded is None:
        market = _Live(Market(listed, start_ns=time.time_ns(), seed=seed, pace=Pace(rate=rate)))
    else:
        market = _Recorded(recorded)
    posting = _Posting(url.rstrip("/"), SENDERS[vendor](secret), market, as_json=as_json)
    return asyncio.run(posting.run(seconds, events))


class _Live:
    """The synthetic market, by the clock."""

    def __init__(self, market: Market) -> None:
        self.instruments = market.instruments
        self._market = market

    async def ticks(self) -> list[Tick] | None:
        await asyncio.sleep(_EVERY_S)
        return rows(self._market.until(time.time_ns()))


class _Recorded:
    """A recorded day, at its own pace; at full speed so many ticks at once."""

    def __init__(self, day: Day) -> None:
        self.instruments = day.source.instruments
        self._source = day.source
        self._tell = day.source.rows if isinstance(day.source, TellsMore) else rows
        self._pacer = day.pacer

    async def ticks(self) -> list[Tick] | None:
        """None: the day is over."""
        at_once = _AT_ONCE if self._pacer.playback.speed is None else 1
        taken = self._tell(self._source.take(at_once))
        if not taken:
            return None
        return [tick for tick in taken if await self._pacer.until(tick.at_ns)]


class _Posting:
    def __init__(
        self, url: str, sender: Sender, market: _Live | _Recorded, *, as_json: bool
    ) -> None:
        self._url = url
        self._sender = sender
        self._market = market
        self._as_json = as_json
        # Counts alone: a long run must not fill the memory.
        self._answers: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()

    async def run(self, seconds: float | None, events: int | None) -> bool:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        interrupted = False

        def told(number: int) -> None:
            nonlocal interrupted
            interrupted = number == signal.SIGINT
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told, number)
        if seconds is not None:
            loop.call_later(seconds, stop.set)
        made = 0
        patience = Patience(answer_s=self._sender.patience_s)
        while not stop.is_set() and (events is None or made < events):
            getting = asyncio.ensure_future(self._market.ticks())
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({getting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not getting.done():
                getting.cancel()
                break
            if (ticks := getting.result()) is None:
                break
            posts = posts_of(self._sender, ticks, self._market.instruments, time.time_ns())
            posts = posts[: None if events is None else events - made]
            made += len(posts)
            if posts:
                self._add(await post_all(self._url, posts, patience=patience))
        self._say()
        return interrupted

    def _add(self, more: Posted) -> None:
        self._answers += more.answers
        self._ends["accepted"] += len(more.accepted)
        self._ends["refused"] += len(more.refused)
        self._ends["given_up"] += len(more.given_up)

    def _say(self) -> None:
        ends = {end: self._ends[end] for end in ("accepted", "refused", "given_up")}
        if self._as_json:
            import msgspec  # noqa: PLC0415

            told = {"event": "summary", **ends, "answers": dict(self._answers)}
            click.echo(msgspec.json.encode(told))
            return
        answers = ", ".join(f"{what} {n:,}" for what, n in self._answers.most_common())
        click.echo(
            f"{ends['accepted']:,} accepted, {ends['refused']:,} refused,"
            f" {ends['given_up']:,} given up; answers: {answers or 'none'}"
        )
