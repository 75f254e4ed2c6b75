"""`edc verify`: are daily files what they say?"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edc_pipeline.cli import options

if TYPE_CHECKING:
    from edc_pipeline.consolidation.findings import Verification


@click.command(epilog="Example:  edc verify daily/consol_feeds_trade_2026_01_22.h5 --spool spool")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--spool",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare with the spool that the files were made from, too.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def verify(files: tuple[Path, ...], spool: Path | None, as_json: bool) -> None:
    """Re-read daily FILES with no trust in their writer, and say what is wrong in words.

    Content hash, order, day bounds, identity, counts, time index, ledger. Exit 1: something is
    wrong. Warnings (gaps, near duplicates, inputs set aside) leave it at 0.
    """
    from edc_pipeline.consolidation.verification import verify as check  # noqa: PLC0415

    if spool is not None:
        options.existing_spool(spool)
    try:
        verified = [check(path, spool) for path in files]
    except KeyboardInterrupt:
        sys.exit(130)
    with suppress(BrokenPipeError):  # the verdict stands, whoever reads it
        _say(verified, as_json)
    sys.exit(0 if all(v.ok for v in verified) else 1)


def _say(verified: list[Verification], as_json: bool) -> None:
    import msgspec  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import

    if as_json:
        shown = [{"ok": v.ok, **msgspec.structs.asdict(v)} for v in verified]
        click.echo(msgspec.json.encode({"files": shown}))
    else:
        console = terminal.console()
        for v in verified:
            verdict = "[green]sound[/]" if v.ok else "[red]not sound[/]"
            console.print(f"{escape(v.path)}: {verdict}, {v.rows:,} rows", soft_wrap=True)
            for finding in v.findings:
                colour = "red" if finding.severity == "error" else "yellow"
                console.print(
                    f"  [{colour}]{finding.severity}[/] {finding.check}: {escape(finding.message)}",
                    soft_wrap=True,
                )
