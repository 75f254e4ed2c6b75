"""`edc vendors`: whom we can hear, printed from the vendors' own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edc_pipeline.cli import options

if TYPE_CHECKING:
    from edc_pipeline.vendors.contract import FeedSpec, Vendor


@click.command(epilog="Example: edc vendors; edc vendors kraken polygon; edc vendors --json")
@options.as_json
@click.argument("names", nargs=-1, metavar="[VENDOR]…")
def vendors(as_json: bool, names: tuple[str, ...]) -> int:
    """Show each vendor's feeds: way in, event types, limits, free plan, what identity rests on."""
    from edc_pipeline.cli import terminal  # noqa: PLC0415
    from edc_pipeline.vendors import VENDORS  # noqa: PLC0415

    chosen = [options.vendor_named(name) for name in names] or list(VENDORS.values())
    if as_json:
        import msgspec  # noqa: PLC0415

        for vendor in chosen:
            click.echo(msgspec.json.encode(_told(vendor)))
        return 0
    for vendor in chosen:
        told = _told(vendor)
        shown = terminal.table(
            f"{vendor.title} ({vendor.name})", "feed", "way in", "asset class", "event types",
            "limits", "identity", "key",
        )  # fmt: skip
        for feed in told["feeds"]:
            shown.add_row(
                feed["feed"],
                feed["way_in"],
                feed["asset_class"],
                " ".join(feed["event_types"]),
                feed["limits"] or "–",
                _identity(feed["identity"]),
                feed["key"] or "none",
            )
        notes = [
            f"  {what}: {told[key]}"
            for what, key in (("limits", "limits"), ("free plan", "free_plan"))
            if told[key]
        ]
        terminal.show(shown, *notes, "")
    return 0


def _told(vendor: Vendor) -> dict[str, Any]:
    return {
        "vendor": vendor.name,
        "title": vendor.title,
        "limits": vendor.limits,
        "free_plan": vendor.free_plan,
        "feeds": [
            {
                "feed": feed.name,
                "title": feed.title,
                "way_in": feed.way_in,
                "url": feed.url,
                "asset_class": feed.asset_class,
                "event_types": list(feed.event_types),
                "limits": _limits(feed),
                "options": feed.options_help,
                "identity": {
                    event_type: {"rests_on": rule.columns, "kind": rule.kind}
                    for event_type, rule in feed.identity.items()
                },
                "key": (feed.webhook.secret if feed.webhook else None) or vendor.secret,
            }
            for feed in vendor.feeds.values()
        ],
    }


def _limits(feed: FeedSpec) -> str:
    if feed.polling is not None:
        budgets = [f"{b.requests:,} a {b.per}" for b in feed.polling.budgets]
        return ", ".join([f"asked every {feed.polling.every_s:g} s", *budgets])
    if feed.webhook is not None:
        sources = feed.webhook.sources
        said = [f"answered within {feed.webhook.answer_within_s:g} s"]
        return ", ".join([*said, *([f"calls from {' '.join(sources)}"] if sources else [])])
    line, said = feed.websocket, []
    if line.symbols_per_connection:
        said.append(f"{line.symbols_per_connection:,} symbols a connection")
    if line.connections:
        said.append(f"{line.connections} connection{'s' if line.connections > 1 else ''}")
    if line.messages_per_s:
        said.append(f"{line.messages_per_s:g} messages/s")
    if line.lasts_s:
        said.append(f"a connection lasts {line.lasts_s / 3600:.3g} h")
    return ", ".join(said)


def _identity(identity: dict[str, dict[str, str]]) -> str:
    """Event types that rest on the same stand together."""
    by: dict[str, list[str]] = {}
    for event_type, rule in identity.items():
        by.setdefault(f"{rule['rests_on']} ({rule['kind']})", []).append(event_type)
    if len(by) == 1:
        return next(iter(by))
    return "; ".join(f"{' '.join(types)}: {rests_on}" for rests_on, types in by.items())
