"""`edc replay`: play a day again, to look at it or into a pipeline of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edc_pipeline.cli import options, replay_sources
from edc_pipeline.cli.options import FallsShort, WrongCall
from edc_pipeline.cli.replay_into import events_into, frames_into
from edc_pipeline.cli.replay_player import Between, Player, Show, columns
from edc_pipeline.cli.replay_sources import Asked

if TYPE_CHECKING:
    import datetime as dt

    from edc_pipeline.replay.chart import Chart
    from edc_pipeline.replay.records import Block, Labels

EPILOG: Final = """\b
Examples:
  edc replay --synthetic --symbols SPY --chart
  edc replay --day 2026-01-22 --symbols SPY --speed 10
  edc replay --day 2026-01-22 --spool data/spool --into replayed
  edc replay --ticks ibm_trades.zip:trades.yaml --ticks ibm_quotes.zip:quotes.yaml --chart ibm.svg

\b
While it plays in a terminal: space pauses and goes on, . lets one event go,
→ and ← seek a minute, + and - change the speed, m is as fast as it goes, q ends.
As a vendor's server: edc simulate --replay 2026-01-22 --vendor tiingo
"""


@click.command("replay", epilog=EPILOG)
@click.option("--day", type=options.Day(), help="Which day of New York.")
@replay_sources.options
@click.option("--synthetic", is_flag=True, help="A made day: nothing recorded is needed.")
@click.option("--events", type=click.IntRange(1), default=1_000_000, help="Of a made day.")
@click.option("--seed", type=int, default=0, help="Of a made day.")
@click.option("--symbols", help="SPY,EUR/USD,… and no others.")
@click.option("--from", "begin", metavar="TIME", help="09:31 in New York, or with an offset.")
@click.option("--to", "end", metavar="TIME", help="Until then, not included.")
@click.option("--speed", help="1, 10, 0.5 … or max. [default: 1; with --into or --chart: max]")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write it through the pipeline into this folder: a spool and daily files of its own.",
)
@click.option(
    "--chart",
    is_flag=False,
    flag_value="-",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Draw the first of --symbols: in the terminal, or into an .svg file that is named.",
)
@options.config
@options.as_json
def replay(
    *,
    day: dt.date | None,
    ticks: tuple[str, ...],
    daily: Path | None,
    spool: Path | None,
    synthetic: bool,
    events: int,
    seed: int,
    symbols: str | None,
    begin: str | None,
    end: str | None,
    speed: str | None,
    into: Path | None,
    chart: Path | None,
    config: Path | None,
    as_json: bool,
) -> int:
    """Play a day again: from daily files, tick files, recorded frames, or a made day.

    Without --into it is shown: a line with the day's clock in a terminal, or with --json every
    event as one line. With --into it goes through the pipeline again, and comes out as daily files:
    frames of a spool give the file that was made live, with the same content hash.
    """
    from edc_pipeline.replay.playback import Playback, parse_speed  # noqa: PLC0415 - numpy

    if sum((bool(ticks), daily is not None, spool is not None, synthetic)) > 1:
        raise WrongCall("one source at a time: --ticks, --daily, --spool or --synthetic")
    if chart is not None and str(chart) != "-" and chart.suffix != ".svg":
        raise WrongCall(f"--chart {chart}: name an .svg file, or none: then it is drawn here")
    try:
        rate = parse_speed(speed or ("max" if into or chart else "1"))
    except ValueError as error:
        raise WrongCall(f"--speed: {error}") from None
    wanted = replay_sources.symbols_asked(symbols)
    settings = options.load_settings(config)
    asked = Asked(day, daily or settings.daily, ticks, synthetic, events, wanted, seed)
    from_ns, to_ns = replay_sources.bounds(day, begin, end)
    show = Show(Playback(rate), as_json=as_json, to_terminal=sys.stdout.isatty() and not as_json)
    if spool is not None:
        if into is None or day is None or chart is not None:
            raise WrongCall(
                "--spool holds frames: they go into a pipeline (--day DAY --into FOLDER), or out"
                " again as their vendor sent them (edc simulate --replay DAY --spool DIR)"
            )
        return frames_into(into, spool, day, settings, Between(from_ns, to_ns, wanted), show)
    player = Player(replay_sources.event_sources(asked), Between(from_ns, to_ns, wanted), show)
    if into is not None:
        return events_into(into, player, settings, asked)
    return _shown(player, chart, wanted)


# -- showing --------------------------------------------------------------------------------------


def _shown(player: Player, chart: Path | None, symbols: tuple[str, ...] | None) -> int:
    from edc_pipeline.replay.chart import Chart  # noqa: PLC0415

    show = player.show
    show.may_seek = chart is None
    drawn = None if chart is None else Chart(player.labels, symbols[0] if symbols else None)
    for block in player.blocks():
        if drawn is not None:
            drawn.hear(block)
        elif show.as_json:
            _print_events(block, player.labels)
    show.clear()
    if not show.events:
        raise FallsShort("there is nothing to replay: no event of these symbols at that time")
    told = show.summary()
    if drawn is not None and chart is not None:
        told |= _draw(drawn, chart)
    if show.as_json:
        import msgspec  # noqa: PLC0415

        # Beside the events, which a reader of them does not want to tell apart from this.
        click.echo(msgspec.json.encode(told), err=drawn is None)
    else:
        late = f", late by {told['late_ms_p99']:.2f} ms at p99" if "late_ms_p99" in told else ""
        seconds, rate = told["seconds"], told["events_per_s"]
        click.echo(f"{show.events:,} events in {seconds:.1f} s, {rate:,} a second{late}", err=True)
    return 0


def _draw(drawn: Chart, chart: Path) -> dict[str, Any]:
    if not drawn.bars:
        raise FallsShort(f"nothing of {drawn.symbol} to draw: it has no trade and no whole quote")
    if str(chart) == "-":
        click.echo(drawn.as_text(columns()))
        return {"symbol": drawn.symbol, "minutes": len(drawn.bars)}
    chart.write_text(drawn.as_svg(), encoding="utf-8")
    click.echo(f"{drawn.title}\nwritten to {chart}", err=True)
    return {"symbol": drawn.symbol, "minutes": len(drawn.bars), "chart": str(chart)}


def _print_events(block: Block, labels: Labels) -> None:
    import msgspec  # noqa: PLC0415

    from edc_pipeline.events import EVENT_TYPES  # noqa: PLC0415
    from edc_pipeline.replay.records import to_table  # noqa: PLC0415

    for n in range(0, len(block), 4096):
        part = block[n : n + 4096]
        lines: list[bytes] = [b""] * len(part)
        for number, event_type in enumerate(EVENT_TYPES):
            places = (part["type"] == number).nonzero()[0].tolist()
            if places:
                rows = to_table(part[places], event_type, labels.known).to_pylist()
                for place, row in zip(places, rows, strict=True):
                    del row["occurrence"]  # counted when a day is consolidated
                    lines[place] = msgspec.json.encode({"event_type": event_type, **row})
        click.echo(b"\n".join(lines))
