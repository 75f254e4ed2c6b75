"""`edc backfill`: the daily files of a span of days, one after another."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edc_pipeline.cli import EXIT_INTERRUPTED, options
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.printable import printable

if TYPE_CHECKING:
    from edc_pipeline.settings import Settings

Made = dict[str, Any]


@click.command(epilog="Example: edc backfill --from 2026-01-01 --to 2026-01-31 --type trade")
@options.config
@click.option("--from", "first", type=options.Day(), required=True, help="The first day.")
@click.option("--to", "last", type=options.Day(), required=True, help="The last day, inclusive.")
@click.option(
    "--type", "event_type", type=click.Choice(EVENT_TYPES), help="One event type; default: all."
)
@click.option("--again", is_flag=True, help="Look at finished days too, byte by byte.")
@options.as_json
def backfill(
    config: Path | None,
    first: dt.date,
    last: dt.date,
    event_type: EventType | None,
    again: bool,
    as_json: bool,
) -> int:
    """Make the daily files of a span of days from the spool.

    One day and type at a time, so memory is that of the largest of them. Finished days are passed
    over: start it again after a failure, and it goes on where it was. The files are those that the
    nightly run makes, to the hash.

    Exit code 1 when a day could not be made or does not balance.
    """
    if last < first:
        raise options.WrongCall(f"--to {last} is before --from {first}")
    settings = options.load_settings(config)
    options.existing_spool(settings.spool)
    wanted = _captured(settings, first, last, (event_type,) if event_type else EVENT_TYPES)
    if not wanted:
        raise options.FallsShort(f"nothing was captured from {first} to {last}")
    done: list[Made] = []
    began = time.monotonic()
    try:
        for number, (day, of_type) in enumerate(wanted, 1):
            made = _make(settings, of_type, day, again=again)
            done.append(made)
            if not as_json:
                _tell(made, number, len(wanted), time.monotonic() - began)
    except KeyboardInterrupt:
        click.echo(f"interrupted; {len(done)} of {len(wanted)} are done, and stay", err=True)
        return EXIT_INTERRUPTED
    short = [made for made in done if made["problem"]]
    if as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode({"days": done, "short": len(short)}))
    else:
        rows = sum(made["rows"] for made in done)
        click.echo(f"{len(done)} files, {rows:,} rows, {len(short)} fall short")
    return 1 if short else 0


def _captured(
    settings: Settings, first: dt.date, last: dt.date, types: tuple[EventType, ...]
) -> list[tuple[dt.date, EventType]]:
    """What there is to make, the oldest first."""
    from edc_pipeline.spool.layout import batch_files  # noqa: PLC0415
    from edc_pipeline.spool.ledger import Ledger  # noqa: PLC0415

    ledger = Ledger(settings.spool)
    return [
        (day, event_type)
        for day in _days(first, last)
        for event_type in types
        if batch_files(settings.spool, event_type, day) or ledger.events_out(event_type, day)
    ]


def _days(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    for number in range((last - first).days + 1):
        yield first + dt.timedelta(days=number)


def _make(settings: Settings, event_type: EventType, day: dt.date, *, again: bool) -> Made:
    from edc_pipeline.consolidation.errors import CannotConsolidate  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.make import consolidate  # noqa: PLC0415 - heavy

    told: Made = {"day": day.isoformat(), "event_type": event_type, "rows": 0, "problem": ""}
    began = time.monotonic()
    finished = None if again else _finished(settings, event_type, day)
    if finished is not None:
        certificate, outcome = finished, "finished before"
    else:
        try:
            made = consolidate(
                *(settings.spool, settings.daily, event_type, day),
                codec=settings.consolidation.codec,
                versions=settings.consolidation.versions,
                sealing_at=settings.consolidation.at,
            )
        except CannotConsolidate as reason:
            return {**told, "outcome": "not made", "problem": str(reason)}
        certificate, outcome = made.certificate, "unchanged" if made.unchanged else "made"
    return {
        **told,
        "outcome": outcome,
        "state": certificate.state.state,
        "rows": certificate.rows,
        "rows_in": certificate.rows_in,
        "content_hash": certificate.content_hash,
        "seconds": round(time.monotonic() - began, 3),
        "problem": "" if certificate.balanced else "; ".join(certificate.reasons),
    }


def _finished(settings: Settings, event_type: EventType, day: dt.date) -> Any:
    """The certificate of a day that was sealed from all micro-batches there are, by their names."""
    from edc_pipeline.consolidation.after_retention import what_it_lacks  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.certificate import NoCertificate, read_certificate  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.held import not_held  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.names import daily_file  # noqa: PLC0415 - heavy

    path = daily_file(settings.daily, event_type, day)
    try:
        certificate = read_certificate(path)
    except (NoCertificate, OSError):
        return None
    finished = (
        certificate.state.state != "provisional"
        and not not_held(certificate, settings.spool)
        and not what_it_lacks(certificate, path, settings.spool)
    )
    return certificate if finished else None


def _tell(made: Made, number: int, of: int, seconds: float) -> None:
    left = seconds / number * (of - number)
    line = f"{number}/{of}  {made['day']} {made['event_type']:<7} {made['outcome']}"
    if made["outcome"] != "not made":
        line += f", {made['rows']:,} rows, {made['state']}, {made['seconds']:.1f} s"
    line += f"; {left:.0f} s left" if number < of else ""
    click.echo(line)
    if made["problem"]:
        click.secho(f"      {printable(made['problem'])}", fg="red")
