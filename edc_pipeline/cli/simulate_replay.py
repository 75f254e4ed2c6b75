"""What `edc simulate --replay` plays: a recorded day instead of the synthetic market."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edc_pipeline.cli import options, replay_sources
from edc_pipeline.cli.options import WrongCall
from edc_pipeline.cli.replay_sources import Asked
from edc_pipeline.market_day import NS_PER_SECOND

if TYPE_CHECKING:
    from edc_pipeline.replay.pacing import LoopPacer
    from edc_pipeline.simulator.faults import Done
    from edc_pipeline.simulator.market import TickSource
    from edc_pipeline.simulator.session import Terms, Vendor


@dataclass(slots=True)
class Day:
    """A recorded day, ready to be served."""

    source: TickSource
    vendor: Vendor | None  # None: the speaker of that name
    pacer: LoopPacer
    first_ns: int

    def clock(self) -> Callable[[], int]:
        """The day's own clock, for who is asked and does not send by himself."""
        began, speed = time.monotonic(), self.pacer.playback.speed

        def now_ns() -> int:
            if speed is None:
                return 2**62  # as fast as it goes: all of it has happened
            return self.first_ns + int((time.monotonic() - began) * speed * NS_PER_SECOND)

        return now_ns


def open_day(
    day: dt.date | None,
    *,
    vendor: str,
    ticks: tuple[str, ...],
    daily: Path | None,
    spool: Path | None,
    symbols: Sequence[str] | None,
    begin: str | None,
    end: str | None,
    speed: str,
    terms: Terms,
    seed: int,
) -> Day:
    """`WrongCall` says what there is not."""
    from edc_pipeline.replay.frame_vendor import FrameVendor, RecordedFrames  # noqa: PLC0415
    from edc_pipeline.replay.pacing import LoopPacer  # noqa: PLC0415
    from edc_pipeline.replay.playback import Playback, parse_speed  # noqa: PLC0415
    from edc_pipeline.replay.recorded_frames import NoFrames  # noqa: PLC0415
    from edc_pipeline.replay.tick_file import TickFileMistake  # noqa: PLC0415
    from edc_pipeline.replay.tick_source import RecordedDay  # noqa: PLC0415

    if sum((bool(ticks), daily is not None, spool is not None)) > 1:
        raise WrongCall("one source at a time: --ticks, --daily or --spool")
    try:
        playback = Playback(parse_speed(speed))
    except ValueError as error:
        raise WrongCall(f"--speed: {error}") from None
    from_ns, to_ns = replay_sources.bounds(day, begin, end)
    spoken: Vendor | None = None
    source: Any
    if spool is not None:
        if day is None:
            raise WrongCall("which day? --replay 2026-01-22")
        if symbols is not None:
            raise WrongCall(
                "--symbols: frames of a spool go out whole; ask for symbols as a client"
            )
        try:
            source = RecordedFrames(options.existing_spool(spool), day, vendor, to_ns=to_ns)
        except NoFrames as error:
            raise WrongCall(str(error)) from None
        spoken = FrameVendor(vendor, source, terms=terms, seed=seed)
        if from_ns is not None and begin is not None:
            source.jump_to(from_ns)
    else:
        folder = daily or options.load_settings(None).daily
        sources = replay_sources.event_sources(Asked(day, folder, ticks))
        try:
            source = RecordedDay(sources, symbols=symbols, from_ns=from_ns, to_ns=to_ns)
        except TickFileMistake as mistake:
            raise WrongCall(str(mistake)) from None
    first = source.first_ns()
    if first is None:
        raise WrongCall("there is nothing to replay: no event of these symbols at that time")
    return Day(source, spoken, LoopPacer(playback), first)


def write_report(path: Path, done: Sequence[Done]) -> None:
    """What was done to which frame, one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for entry in done:
            line = asdict(entry)
            if isinstance(entry.body, bytes):
                line["body_base64"] = base64.b64encode(entry.body).decode()
                del line["body"]
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
