"""`edc capture`: the collector in the foreground."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edc_pipeline.cli import EXIT_INTERRUPTED, options
from edc_pipeline.cli.options import FallsShort, WrongCall

if TYPE_CHECKING:
    from edc_pipeline.capture.report import Report


@click.command(
    epilog="Example: edc capture --config feeds.yaml --for 3600; Ctrl-C or SIGTERM drains and"
    " ends, SIGHUP reads the feeds again."
)
@options.config
@click.option("--for", "for_seconds", type=click.FloatRange(min=0.1), help="Stop after so many s.")
@click.option(
    "--take-over",
    is_flag=True,
    help="Connect first, then have a running collector hand over: no hole between the two.",
)
@options.as_json
def capture(config: Path | None, for_seconds: float | None, take_over: bool, as_json: bool) -> int:
    """Capture the feeds of feeds.yaml into the spool, until stopped."""
    from edc_pipeline.capture.hang_up import HangUp  # noqa: PLC0415

    hang_up = HangUp()
    hang_up.listen()  # the first thing: what follows takes a while

    from edc_pipeline.capture.metrics import NoMetricsPort  # noqa: PLC0415
    from edc_pipeline.capture.run import CaptureFailed, run_capture  # noqa: PLC0415
    from edc_pipeline.printable import PrintableFormatter, printable  # noqa: PLC0415
    from edc_pipeline.settings import load  # noqa: PLC0415
    from edc_pipeline.spool.owner import SpoolIsOwned  # noqa: PLC0415
    from edc_pipeline.spool.replay_mark import SpoolIsReplay  # noqa: PLC0415
    from edc_pipeline.transports.webhook import NoWebhookPort  # noqa: PLC0415

    settings = options.load_settings(config)
    missing = settings.missing_secrets()
    if missing:
        raise WrongCall("\n  ".join(missing))
    if not settings.enabled_feeds:
        raise WrongCall("no feeds: name some in feeds.yaml (copy feeds.example.yaml to begin)")
    to = logging.StreamHandler(sys.stderr)
    to.setFormatter(PrintableFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[to])
    try:
        ended = run_capture(
            settings,
            for_seconds=for_seconds,
            reload=lambda: load(config),
            hang_up=hang_up,
            take_over=take_over,
            on_report=None if as_json else _tell,
            report_every_s=5.0 if sys.stderr.isatty() else 60.0,
        )
    except (SpoolIsOwned, SpoolIsReplay, NoMetricsPort, NoWebhookPort) as wrong:
        raise WrongCall(str(wrong)) from None
    except CaptureFailed as failed:
        raise FallsShort(printable(str(failed))) from None
    if as_json:
        import msgspec  # noqa: PLC0415

        click.echo(msgspec.json.encode(ended))
    return EXIT_INTERRUPTED if "SIGINT" in ended.why else 0


def _tell(report: Report) -> None:
    from edc_pipeline.printable import printable  # noqa: PLC0415

    for feed in report.feeds:
        rate = report.per_second(feed.frames)
        events = ", ".join(f"{n:,} {t}" for t, n in sorted(feed.events.items())) or "no events"
        problem = f"; {feed.last_problem}" if feed.last_problem else ""
        click.echo(
            printable(
                f"{feed.name:<20} {feed.state:<10} {feed.frames:>10,} frames"
                f" ({rate:,.0f}/s)  {events}; {feed.quarantined} quarantined,"
                f" {feed.reconnects} reconnects{problem}"
            ),
            err=True,
        )
