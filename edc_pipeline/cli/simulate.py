"""`edc simulate`: a fake exchange to connect to."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from edc_pipeline.cli import options, replay_sources, simulate_replay, simulate_words
from edc_pipeline.cli.keys import keys, move
from edc_pipeline.cli.options import WrongCall
from edc_pipeline.cli.simulate_open import serve, serve_rest
from edc_pipeline.market_day import NS_PER_SECOND

if TYPE_CHECKING:
    from edc_pipeline.simulator.rest_server import RestServer

_REST_PORT: Final = 8766  # beside the websockets' 8765

EXIT_INTERRUPTED: Final = 130

EPILOG: Final = """\b
Examples:
  edc simulate
  edc simulate --rate 2000 --symbols SPY,AAPL,EUR/USD,BTC/USD --seed 7
  edc simulate --rest-port 8766
  edc simulate --vendor tradingview --post-to http://127.0.0.1:8790/alerts
  edc simulate --replay 2026-01-22 --speed 10
  edc simulate --replay 2026-01-22 --spool data/spool --vendor tiingo
  edc simulate --events 20000 --chaos "cut@5000,rubbish@iex:200:truncated" --resend 50

\b
--chaos takes, separated by commas:
  duplicate=0.1%            a share of the data frames; delay, reorder and rubbish alike
  delay=1%:250ms            with how long; mute=1/h:10s alike
  cut=2/h                   times per hour of each connection
  cut@500, rubbish@iex:200  once: at the 500th data frame of the first connection
                            that gets so far, at the 200th of one of /iex
  drop@500:20, corrupt=1%   frames that never come, or with a broken byte
  hush=1/h:10s, slow=2/h:3s one symbol silent; a line that runs behind
  half_open@500             the server is gone and the client is not told
  expired@500, limit@500:3  closed; the next handshakes are answered 401, 429
  late_snapshot=5%:3        a snapshot behind three updates
  clock=-250ms              the exchange's clock is off
  seed=7                    another run of luck

A client sends Tiingo's subscribe message; a token is asked for, and any will do
unless --token is given.
"""


@click.command("simulate", epilog=EPILOG)
@click.option(
    "--vendor", default="tiingo", show_default=True, help="Whose protocol to speak: tiingo, …"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same market.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 10_000_000, min_open=True),
    default=200.0,
    show_default=True,
    help="Ticks per second over all symbols by day; stocks trade at half of that by night.",
)
@click.option(
    "--token",
    envvar="EDC_SIM_TOKEN",
    show_envvar=True,
    help="The only token that is accepted; any that is not empty by default.",
)
@click.option(
    "--rest-port",
    type=click.IntRange(0, 65_535),
    help="Answer the vendor's REST requests as well, there; 0 picks a free one. For a vendor"
    f" that has nothing else the default is {_REST_PORT}.",
)
@click.option(
    "--rest-chaos",
    default="",
    help="What goes wrong with REST answers: 503@3,429@5:2,slow@7:1.5,torn=1%,oversized@9.",
)
@click.option(
    "--post-to",
    metavar="URL",
    help="Post webhooks there as the vendor does, signed with --token: tradingview, finnhub,"
    " signed_json.",
)
@click.option("--symbols", help="SPY,BRK.B,EUR/USD,… instead of the usual ones.")
@click.option("--chaos", default="", help="What goes wrong, and how often; see below.")
@click.option(
    "--heartbeat",
    type=click.FloatRange(0, min_open=True),
    help="Seconds between heartbeats. [default: the vendor's]",
)
@click.option(
    "--resend",
    type=click.IntRange(0, 10_000),
    default=0,
    show_default=True,
    help="Data frames sent again, byte for byte, to a client that comes back.",
)
@click.option(
    "--for",
    "seconds",
    type=click.FloatRange(0, min_open=True),
    help="Stop after so many seconds.",
)
@click.option("--events", type=click.IntRange(1), help="Stop after so many data frames.")
@click.option(
    "--from",
    "start",
    metavar="TIME",
    help="Event times begin there, 2026-01-22T15:58-05:00, and come as fast as clients read.",
)
@click.option("--to", "end", metavar="TIME", help="With --replay: until then, not included.")
@click.option(
    "--replay",
    "day",
    type=options.Day(),
    help="Play this day again instead of the synthetic market: from the daily files, or from"
    " --daily, --ticks, or --spool (the vendor's own frames, byte for byte).",
)
@replay_sources.options
@click.option(
    "--speed",
    default="max",
    show_default=True,
    help="Of a replay: 1, 10, 0.5 … or max: as fast as clients read.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what --chaos did to which frame to this file, one JSON object a line.",
)
@click.option(
    "--audience",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="With --from: wait until so many connections are subscribed.",
)
@click.option(
    "--truth",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every data frame sent to this file, one JSON object a line.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def simulate(
    *,
    vendor: str,
    host: str,
    port: int,
    seed: int,
    rate: float,
    token: str | None,
    rest_port: int | None,
    rest_chaos: str,
    post_to: str | None,
    symbols: str | None,
    chaos: str,
    heartbeat: float | None,
    resend: int,
    seconds: float | None,
    events: int | None,
    start: str | None,
    end: str | None,
    day: dt.date | None,
    ticks: tuple[str, ...],
    daily: Path | None,
    spool: Path | None,
    speed: str,
    report: Path | None,
    audience: int,
    truth: Path | None,
    as_json: bool,
) -> None:
    """Run a fake exchange that speaks a vendor's websocket protocol over a synthetic market.

    With --rest-port it answers the vendor's REST requests over the same market; a vendor that has
    nothing but REST is served so anyway. With --post-to it calls a webhook instead. With --replay
    it all happens again as on a recorded day.
    """
    from edc_pipeline.simulator import (  # noqa: PLC0415 - numpy: 0.3 s that --help need not wait
        exchange,
        faults,
        senders,
        session,
        speakers,
    )
    from edc_pipeline.vendors import named  # noqa: PLC0415

    known = named(vendor)
    vendor = known.name if known else vendor
    terms = session.Terms(token=token or None)
    listed = None if symbols is None else symbols.split(",")
    recorded: simulate_replay.Day | None = None
    if day is not None or ticks or spool is not None or daily is not None:
        recorded = simulate_replay.open_day(
            day,
            vendor=_known(vendor, speakers.SPEAKERS, speakers.RESTS, senders.SENDERS),
            ticks=ticks,
            daily=daily,
            spool=spool,
            symbols=listed,
            begin=start,
            end=end,
            speed=speed,
            terms=terms,
            seed=seed,
        )
    if post_to is not None:
        from edc_pipeline.cli.simulate_posting import post_ticks  # noqa: PLC0415

        interrupted = post_ticks(
            post_to,
            vendor=vendor,
            secret=token or "",
            symbols=symbols,
            seed=seed,
            rate=rate,
            seconds=seconds,
            events=events,
            as_json=as_json,
            recorded=recorded,
        )
        _end(interrupted)
        return
    rest: RestServer | None = None
    say: simulate_words.Say = (
        simulate_words.JsonLines() if as_json else simulate_words.Text(sys.stdout.isatty())
    )
    rest_alone = vendor in speakers.RESTS and vendor not in speakers.SPEAKERS
    try:
        if rest_port is not None or rest_alone:
            from edc_pipeline.simulator import rest_server  # noqa: PLC0415 - aiohttp: 0.3 s

            answers = rest_server.RestConfig(
                host=host,
                port=_REST_PORT if rest_port is None else rest_port,
                vendor=vendor,
                symbols=listed,
                seed=seed,
                rate=rate,
                terms=terms,
                chaos=rest_chaos,
            )
        if rest_alone:
            rest = (
                rest_server.RestServer(answers)
                if recorded is None
                else rest_server.RestServer(answers, source=recorded.source, clock=recorded.clock())
            )
            _end(asyncio.run(serve_rest(rest, say, seconds)))
            return
        config = exchange.ExchangeConfig(
            host=host,
            port=port,
            seed=seed,
            rate=rate,
            vendor=vendor,
            symbols=listed,
            terms=terms,
            chaos=faults.Chaos.parse(chaos),
            heartbeat_s=heartbeat,
            resend_on_subscribe=resend,
            seconds=seconds,
            events=events,
            script_start_ns=recorded.first_ns
            if recorded is not None
            else (None if start is None else _instant(start)),
            audience=audience,
            truth_file=truth,
            keep_frames=0,  # counted, and in the file; a long run must not fill the memory
        )
        made = (
            exchange.Exchange(config)
            if recorded is None
            else exchange.Exchange(
                config, source=recorded.source, vendor=recorded.vendor, pacer=recorded.pacer
            )
        )
        if rest_port is not None:
            rest = rest_server.RestServer(answers, exchange=made)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    # A client that leaves in the middle of a handshake is no news for a terminal.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        if recorded is not None and not as_json:
            stack.enter_context(keys(partial(move, recorded.pacer)))
        interrupted = asyncio.run(serve(made, rest, say))
    if report is not None:
        simulate_replay.write_report(report, made.trouble.report)
    _end(interrupted)


def _end(interrupted: bool) -> None:
    if interrupted:
        click.get_current_context().exit(EXIT_INTERRUPTED)


def _instant(text: str) -> int:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"--from {text!r} is no time with an offset, as 2026-01-22T15:58-05:00")
    return int(moment.timestamp()) * NS_PER_SECOND


def _known(vendor: str, *tables: Mapping[str, object]) -> str:
    names = sorted({name for table in tables for name in table})
    if vendor not in names:
        raise WrongCall(f"vendor: {vendor!r} is none of {', '.join(names)}")
    return vendor


command = simulate
