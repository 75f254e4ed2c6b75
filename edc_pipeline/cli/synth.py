"""`edc synth`: a made day of any size, written as micro-batches."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Final

import click

from edc_pipeline.cli import options
from edc_pipeline.cli.options import WrongCall

_FLUSH_ROWS: Final = 500_000


@click.command(
    epilog="Example: edc synth --into made --events 10000000 --symbols 500 --seed 7;"
    " then: edc consolidate --spool made/spool --out made/daily --day 2026-01-22"
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The folder whose spool is made; there must be none in it.",
)
@click.option("--day", type=options.Day(), default="2026-01-22", show_default=True)
@click.option("--events", type=click.IntRange(1), default=1_000_000, show_default=True)
@click.option("--symbols", type=click.IntRange(1, 30_000), default=15, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same day.")
@options.as_json
def synth(*, into: Path, day: dt.date, events: int, symbols: int, seed: int, as_json: bool) -> int:
    """Make a day of trades and quotes for benchmarks and demos: over a million events a second.

    They are random walks and nothing more; `edc simulate` is the believable market.
    """
    from edc_pipeline.replay.events_into_spool import replay_events  # noqa: PLC0415 - numpy, pyarrow
    from edc_pipeline.replay.records import Labels  # noqa: PLC0415
    from edc_pipeline.replay.synthetic_day import SyntheticDay, many_instruments  # noqa: PLC0415
    from edc_pipeline.spool.replay_mark import Replayed, SpoolIsLive, mark_replay  # noqa: PLC0415

    made = SyntheticDay(day, many_instruments(symbols), events, seed)
    spool = into / "spool"
    said = Replayed(source=made.name, what="synthetic", at=time.time_ns(), day=day.isoformat())
    try:
        mark_replay(spool, said)
    except SpoolIsLive as error:
        raise WrongCall(str(error)) from None
    labels = Labels()
    began = time.monotonic()
    done = replay_events(made.blocks(labels), spool, labels, flush_rows=_FLUSH_ROWS, at_ns=0)
    took = time.monotonic() - began
    if as_json:
        import msgspec  # noqa: PLC0415

        told = {"spool": str(spool), "events": dict(done.events), "seconds": round(took, 3)}
        click.echo(msgspec.json.encode(told))
    else:
        counts = ", ".join(f"{n:,} {event_type}s" for event_type, n in done.events.items())
        rate = events / max(took, 1e-9)
        click.echo(f"{spool}: {counts} of {symbols} symbols in {took:.1f} s, {rate:,.0f} a second")
    return 0
