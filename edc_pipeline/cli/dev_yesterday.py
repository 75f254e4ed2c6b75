"""A newcomer's first minute: the last minutes of yesterday, so that there is a day to make.

Captured like any other data, from the simulated exchange through real sockets, only that the
exchange's clock stands at yesterday. Done once, and only with the example settings.
"""

from __future__ import annotations

import datetime as dt
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from edc_pipeline.cli.dev_processes import Started, start

if TYPE_CHECKING:
    from edc_pipeline.settings import Settings

_EVENTS: Final = 6_000
_CLOSE: Final = dt.time(15, 58)
_PORT: Final = 8764  # beside the exchange's usual 8765
_PATIENCE_S: Final = 20.0  # measured: 4 s


def capture_yesterday(
    settings: Settings, project: Path, environment: Mapping[str, str], asked: threading.Event
) -> None:
    """Fill yesterday, if nothing of it is there. Whatever goes wrong costs a line, no more."""
    from edc_pipeline.cli.dev_processes import port_is_free  # noqa: PLC0415
    from edc_pipeline.market_day import MARKET_ZONE, market_day  # noqa: PLC0415
    from edc_pipeline.spool.layout import days_in  # noqa: PLC0415
    from edc_pipeline.spool.owner import current_owner  # noqa: PLC0415

    yesterday = market_day(time.time_ns()) - dt.timedelta(days=1)
    feeds = settings.enabled_feeds
    if (
        any(day == yesterday for _, day in days_in(settings.spool))
        or current_owner(settings.spool)[0]
        or not all(feed.is_simulated for feed in feeds.values())
        or not port_is_free("127.0.0.1", _PORT)
    ):
        return
    begin = dt.datetime.combine(yesterday, _CLOSE, MARKET_ZONE).isoformat()
    audience = sum(feed.connections for feed in feeds.values())
    edc = [sys.executable, "-m", "edc_pipeline"]
    words = ["--port", str(_PORT), "--from", begin, "--events", str(_EVENTS)]
    words += ["--audience", str(audience), "--for", str(_PATIENCE_S)]
    addresses = {
        f"EDC_FEEDS__{name.upper()}__URL": f"ws://127.0.0.1:{_PORT}{urlsplit(feed.address).path}"
        for name, feed in feeds.items()
    }
    exchange = start("exchange", [*edc, "simulate", *words], project, environment, _quiet)
    capture = start("capture", [*edc, "capture"], project, {**environment, **addresses}, _quiet)
    try:
        _wait_for(exchange, asked)
    finally:
        if not capture.ended:
            capture.signal(signal.SIGTERM)
        _wait_for(capture, threading.Event())
        for process in (exchange, capture):
            process.end_group(5.0)
    click.echo(f"{click.style('edc dev', fg='cyan')}  captured the last minutes of {yesterday}")


def _wait_for(process: Started, asked: threading.Event) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not process.ended and time.monotonic() < end and not asked.wait(0.1):
        pass


def _quiet(line: str) -> str | None:
    return None
