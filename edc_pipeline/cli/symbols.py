"""`edc symbols`: ours and each vendor's spelling of a symbol, both ways."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edc_pipeline.cli import options


@click.command(
    epilog="Example: edc symbols BRK.B btcusdt XBT/USD; edc symbols EUR/USD --vendor tiingo"
)
@click.option("--vendor", multiple=True, help="Only at this vendor; may be given again.")
@options.config
@options.as_json
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL…")
def symbols(
    vendor: tuple[str, ...], config: Path | None, as_json: bool, symbols: tuple[str, ...]
) -> int:
    """Show how each vendor spells SYMBOL, which may be ours or any vendor's spelling.

    It tells the spelling, not whether the vendor has it: only the vendor knows that. A vendor that
    numbers its instruments (Kite) is asked by the numbers in feeds.yaml. Exit code 1 where a SYMBOL
    is nobody's.
    """
    from edc_pipeline.cli import terminal  # noqa: PLC0415
    from edc_pipeline.vendors import VENDORS  # noqa: PLC0415
    from edc_pipeline.vendors.lookup import readings, spellings  # noqa: PLC0415

    chosen = [options.vendor_named(name) for name in vendor] or list(VENDORS.values())
    everybody, tokens = list(VENDORS.values()), _tokens(config)
    found = {
        text: [
            row
            for symbol in readings(text, everybody, tokens)
            for row in spellings(symbol, chosen, tokens)
        ]
        for text in symbols
    }
    unknown = [text for text, rows in found.items() if not rows]
    if as_json:
        import msgspec  # noqa: PLC0415

        for text, rows in found.items():
            click.echo(msgspec.json.encode({"asked": text, "found": [asdict(r) for r in rows]}))
    else:
        shown = terminal.table(
            "", "asked", "ours", "vendor", "feeds", "asset class", "the vendor's", "venue"
        )
        for text, rows in found.items():
            for row in rows:
                feeds = " ".join(row.feeds)
                shown.add_row(
                    text, row.symbol, row.vendor, feeds, row.asset_class, row.spelling, row.venue
                )
        if shown.row_count:
            terminal.show(shown)
    for text in unknown:
        click.echo(f"edc: {text!r} is no symbol that {_whom(vendor)} could have", err=True)
    return 1 if unknown else 0


def _tokens(config: Path | None) -> dict[str, dict[str, int]]:
    """Of the feeds that are set up; settings that are not named and wrong are not our business."""
    from edc_pipeline.settings import SettingsMistakes, load  # noqa: PLC0415

    try:
        feeds = load(config).feeds.values()
    except SettingsMistakes:
        if config is not None:
            options.load_settings(config)  # tells them
        return {}
    found: dict[str, dict[str, int]] = {}
    for feed in feeds:
        if isinstance(numbers := feed.options.get("tokens"), dict):
            found.setdefault(feed.vendor, {}).update(numbers)
    return found


def _whom(vendor: tuple[str, ...]) -> str:
    return " or ".join(vendor) if vendor else "any vendor"
