"""`edc replay --into`: a day through the pipeline again, into files of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edc_pipeline.cli import options, replay_sources
from edc_pipeline.cli.options import FallsShort, WrongCall
from edc_pipeline.cli.replay_player import Between, Ended, Player, Show
from edc_pipeline.cli.replay_sources import Asked

if TYPE_CHECKING:
    import datetime as dt

    from edc_pipeline.replay.done import Done


@dataclass(slots=True)
class _Files:
    made: list[Any] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


@contextmanager
def _claimed(
    into: Path, source: str, what: str, between: Between, day: dt.date | None
) -> Iterator[Path]:
    """A spool that is nobody's, marked as a replay's and owned while it is filled."""
    from edc_pipeline.replay.done import COLLECTOR  # noqa: PLC0415
    from edc_pipeline.spool.owner import Owner, own_spool  # noqa: PLC0415
    from edc_pipeline.spool.replay_mark import Replayed, SpoolIsLive, mark_replay  # noqa: PLC0415

    spool = into / "spool"
    mark = Replayed(
        source=source,
        what=what,
        at=time.time_ns(),
        day=day.isoformat() if day else "",
        left_out=between.left_out,
    )
    try:
        mark_replay(spool, mark)
    except SpoolIsLive as error:
        raise WrongCall(str(error)) from None
    with own_spool(spool, Owner(collector=COLLECTOR, pid=os.getpid(), started_at=mark.at)):
        yield spool


def frames_into(
    into: Path, spool: Path, day: dt.date, settings: Any, between: Between, show: Show
) -> int:
    from edc_pipeline.cli.keys import keys  # noqa: PLC0415
    from edc_pipeline.replay.done import Done  # noqa: PLC0415
    from edc_pipeline.replay.frames_into_spool import replay_frames  # noqa: PLC0415
    from edc_pipeline.replay.recorded_frames import NoFrames, spans_of  # noqa: PLC0415

    try:
        spans_of(options.existing_spool(spool), day)
    except NoFrames as error:
        raise FallsShort(str(error)) from None
    whole = between == Between(*replay_sources.bounds(day, None, None), between.symbols)

    def gate(at_ns: int) -> bool:
        # A whole day has all its events, also those received just after midnight.
        inside = (between.from_ns or at_ns) <= at_ns < (between.to_ns or at_ns + 1)
        if not whole and not inside:
            return False
        let_go = show.pacer.until(at_ns)
        show.events += 1
        if not show.events % 256:
            show.tick()
        return let_go

    done = Done()
    with _claimed(into, str(spool), "frames", between, day) as target, keys(show.on_key):
        try:
            replay_frames(
                *(spool, target, day),
                rules=settings.capture,
                symbols=between.symbols,
                gate=gate,
                done=done,
            )
        except Ended:
            show.ended = True
    return _consolidated(into, done, settings, show)


def events_into(into: Path, player: Player, settings: Any, asked: Asked) -> int:
    from edc_pipeline.replay.events_into_spool import replay_events  # noqa: PLC0415

    source = ", ".join(source.name for source in player.sources)
    what = "synthetic" if asked.synthetic else "events"
    with _claimed(into, source, what, player.between, asked.day) as target:
        done = replay_events(
            player.blocks(),
            target,
            player.labels,
            flush_rows=max(settings.capture.flush_rows, 500_000),
            at_ns=player.between.from_ns or 0,
        )
    return _consolidated(into, done, settings, player.show)


def _consolidated(into: Path, done: Done, settings: Any, show: Show) -> int:
    show.clear()
    if not done.events:
        raise FallsShort("there is nothing to replay: no event of these symbols at that time")
    files = _Files()
    show.played_s = time.monotonic() - show.began_s
    if show.ended:
        files.reasons.append("ended before its end: the daily files hold what was replayed so far")
    _make_files(into, done, settings, files)
    told = show.summary(
        frames=done.frames,
        by_type=dict(done.events),
        other_days=done.other_days,
        not_wanted=done.not_wanted,
        files=[
            {"path": str(m.path), "rows": m.certificate.rows, "hash": m.certificate.content_hash}
            for m in files.made
        ],
        short=files.reasons,
    )
    if show.as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode(told))
    else:
        for m in files.made:
            rows, hashed = m.certificate.rows, m.certificate.content_hash
            click.echo(f"{m.path}  {rows:,} rows  {hashed[:23]}…")
        took, rate = told["seconds"], told["events_per_s"]
        click.echo(f"{done.events.total():,} events in {took:.1f} s; {rate:,} a second let go")
        for reason in files.reasons:
            click.echo(f"edc: {reason}", err=True)
    return 1 if files.reasons else 0


def _make_files(into: Path, done: Done, settings: Any, files: _Files) -> None:
    from edc_pipeline.consolidation.errors import CannotConsolidate  # noqa: PLC0415
    from edc_pipeline.consolidation.make import consolidate  # noqa: PLC0415

    for day in sorted(done.days):
        for event_type in done.events:
            try:
                made = consolidate(
                    *(into / "spool", into / "daily", event_type, day),
                    codec=settings.consolidation.codec,
                )
            except CannotConsolidate as error:
                if not error.nothing_there:
                    files.reasons.append(str(error))
                continue
            files.made.append(made)
            files.reasons += made.certificate.reasons
