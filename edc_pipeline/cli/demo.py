"""`edc demo`: the whole way once, bounded, with the vendor misbehaving on purpose."""

from __future__ import annotations

import datetime as dt
import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edc_pipeline.cli.options import FallsShort
from edc_pipeline.printable import printable

if TYPE_CHECKING:
    from edc_pipeline.consolidation.certificate import Certificate
    from edc_pipeline.settings import Settings

_EVENTS: Final = 12_000
_RATE: Final = 1_500
_LIMIT_S: Final = 40.0
# The stocks' connection is cut once and then resends its last 300 frames, as some vendors do; one
# of its frames is torn.
_CHAOS: Final = "cut@iex:1500,rubbish@iex:700:truncated,seed=7"
_RESEND: Final = 300
_STOCKS: Final = ("AAPL", "MSFT", "NVDA", "IBM", "BRK.B", "SPY")


@click.command(epilog="Example: edc demo --dir demo; exit 0 only if the ledger balances.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Where the files go; what an earlier demo left there is replaced.",
)
def demo(folder: Path) -> int:
    """Capture from a simulated exchange, consolidate, verify, and print the ledger.

    The exchange sends trades, quotes and reference prices over real websockets, cuts a connection,
    sends frames again, and sends one frame that can't be read. Takes about 20 seconds.
    """
    _clear(folder)
    began = time.monotonic()
    with _exchange() as (process, urls):
        settings = _settings(folder, urls)
        click.echo(f"capturing {_EVENTS:,} events from the simulated exchange …")
        _capture(settings, process)
        sent = _summary(process)
    faults = sent["faults_done"]
    click.echo(
        f"the exchange sent {sent['data_frames']:,} data frames: {faults.get('cut', 0)} cut,"
        f" {faults.get('rubbish', 0)} torn, {sent['faults'].get('resend', 0)} sent again"
    )
    certificates = _consolidate(settings)
    whole = _tell_ledger(settings, certificates, sent)
    _tell_files(settings, certificates)
    click.echo(f"\n{time.monotonic() - began:.0f} s in all")
    if not whole:
        raise FallsShort("the ledger does not balance")
    return 0


_MARK: Final = ".edc_demo"
_LEFT: Final = ("spool", "daily")  # what a demo leaves, and may remove


def _clear(folder: Path) -> None:
    """Empty what an earlier demo left; never a folder that is somebody's."""
    if folder.exists():
        foreign = sorted(p.name for p in folder.iterdir() if p.name not in {_MARK, *_LEFT})
        if foreign or (any(folder.iterdir()) and not (folder / _MARK).exists()):
            named = f" ({foreign[0]})" if foreign else ""
            raise click.UsageError(
                f"{folder} holds what no demo made{named}; choose another folder: --dir"
            )
        for name in _LEFT:
            shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


class _exchange:  # noqa: N801 - read as a verb: with _exchange() as …
    """The simulated exchange as a process of its own, so that the socket between is a real one."""

    def __enter__(self) -> tuple[subprocess.Popen[str], dict[str, str]]:
        options: dict[str, object] = {
            "port": 0,
            "seed": 7,
            "rate": _RATE,
            "events": _EVENTS,
            "resend": _RESEND,
            "chaos": _CHAOS,
            "symbols": ",".join((*_STOCKS, "EUR/USD", "BTC/USD")),
            "for": _LIMIT_S,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen(  # noqa: S603 - our own program, our own words
            [sys.executable, "-m", "edc_pipeline", "simulate", "--json", *words],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise FallsShort("the simulated exchange did not start; try: edc simulate")
        return self.process, json.loads(line)["urls"]

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


def _summary(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    summary: dict[str, Any] = json.loads(process.stdout.read().splitlines()[-1])
    return summary


def _settings(folder: Path, urls: dict[str, str]) -> Settings:
    from edc_pipeline.settings import Settings  # noqa: PLC0415 - heavy
    from edc_pipeline.settings_of_feeds import Feed  # noqa: PLC0415

    def feed(product: str, *symbols: str, **told: Any) -> Feed:
        return Feed(vendor="tiingo", feed=product, symbols=symbols, url=urls[product], **told)

    etfs: Any = {"SPY": "etf"}
    return Settings(
        data_dir=folder,
        feeds={
            "stocks": feed("iex", *_STOCKS, options={"threshold_level": 0}, asset_classes=etfs),
            "stocks_reference": feed(
                "iex", *_STOCKS, options={"threshold_level": 6}, asset_classes=etfs
            ),
            "currencies": feed("fx", "EUR/USD"),
            "crypto": feed("crypto", "BTC/USD"),
        },
        capture={"flush_seconds": 2},  # type: ignore[arg-type]
    )


def _capture(settings: Settings, exchange: subprocess.Popen[str]) -> None:
    """Until the exchange has nothing more to say."""
    from edc_pipeline.capture.run import run_capture  # noqa: PLC0415

    def over() -> str:
        return "" if exchange.poll() is None else "the exchange is done"

    # The exchange closes every connection when it ends; that is no news here.
    logging.getLogger("edc_pipeline").setLevel(logging.CRITICAL)
    run_capture(settings, for_seconds=_LIMIT_S, may_go_on=over, watch_every_s=0.2)


def _consolidate(settings: Settings) -> list[tuple[Path, Certificate]]:
    from edc_pipeline.consolidation.make import consolidate  # noqa: PLC0415
    from edc_pipeline.consolidation.verification import verify  # noqa: PLC0415
    from edc_pipeline.spool.layout import days_in  # noqa: PLC0415

    made = []
    for event_type, day in days_in(settings.spool):
        file = consolidate(settings.spool, settings.daily, event_type, day)
        verified = verify(file.path, settings.spool)
        for finding in verified.findings:
            if finding.check == "gaps":  # told below, once
                continue
            click.echo(f"  {file.path.name}: {finding.severity}: {finding.message}")
        if not verified.ok:
            raise FallsShort(f"{file.path} does not hold what it claims")
        made.append((file.path, file.certificate))
    return made


def _tell_ledger(
    settings: Settings, certificates: list[tuple[Path, Certificate]], sent: dict[str, Any]
) -> bool:
    """Frames, then events; True when every line adds up and nothing sent is missing."""
    from edc_pipeline.spool.ledger import Ledger  # noqa: PLC0415

    whole = True
    click.echo("\nledger: frames received = with events + control + quarantined")
    heard = 0
    for source, frames in Ledger(settings.spool).frames().items():
        click.echo(
            f"  {source.name:<17} {frames.received:>7,} = {frames.with_events:>7,}"
            f" + {frames.control:>4,} + {frames.quarantined:>3,}   {_word(frames.balanced)}"
        )
        heard += frames.with_events + frames.quarantined
        whole &= frames.balanced
    click.echo("ledger: rows in micro-batches = kept + duplicates")
    for path, certificate in certificates:
        duplicates = certificate.rows_in - certificate.rows
        click.echo(
            f"  {path.name:<40} {certificate.rows_in:>7,} = {certificate.rows:>7,}"
            f" + {duplicates:>4,}   {_word(certificate.balanced)}"
        )
        for reason in certificate.reasons:
            click.echo(f"    {reason}")
        whole &= certificate.balanced
    whole &= heard == sent["data_frames"]
    click.echo(
        f"sent {sent['data_frames']:,} data frames, heard {heard:,}  "
        f" {_word(heard == sent['data_frames'])}"
    )
    return bool(whole)


def _word(balanced: bool) -> str:
    return click.style("balances", fg="green") if balanced else click.style("SHORT", fg="red")


def _tell_files(settings: Settings, certificates: list[tuple[Path, Certificate]]) -> None:
    for gap in _gaps(settings):
        click.echo(f"gap: {printable(str(gap))}")
    click.echo("\nfiles:")
    for path, _ in certificates:
        click.echo(f"  {path}  {path.stat().st_size:,} bytes")
    click.echo("\nread them in Python:")
    click.echo("  import pandas as pd")
    for line in _lines_to_paste(certificates):
        click.echo(f"  {line}")


def _lines_to_paste(certificates: list[tuple[Path, Certificate]]) -> list[str]:
    paths = {c.event_type: str(path.resolve()) for path, c in certificates}
    return [
        f"pd.read_hdf({paths['trade']!r})",
        f"pd.read_hdf({paths['quote']!r}, where=\"symbol == 'SPY'\")",
        f"pd.read_hdf({paths['ref_px']!r}, columns=['ts_event', 'symbol', 'price'])",
    ]


def _gaps(settings: Settings) -> list[str]:
    from edc_pipeline.spool.ledger import Ledger  # noqa: PLC0415

    told = []
    for gap in Ledger(settings.spool).gaps():
        if gap.to_ns is None:
            continue  # the end of the demo
        began = dt.datetime.fromtimestamp(gap.from_ns / 1e9, dt.UTC)
        seconds = (gap.to_ns - gap.from_ns) / 1e9
        told.append(f"{gap.source.name}, {seconds:.2f} s from {began:%H:%M:%S} UTC: {gap.reason}")
    return told
