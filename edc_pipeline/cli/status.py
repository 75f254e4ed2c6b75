"""`edc status`: what capture is doing, and which days are in."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import click

from edc_pipeline.cli import options


@click.command(epilog="Example: edc status --days 3; edc status --watch; edc status --watch 0.5")
@options.config
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(1, 36_500), help="How far back."
)
@click.option(
    "--watch",
    type=click.FloatRange(min=0.2),
    is_flag=False,
    flag_value=2.0,
    help="Show anew, in place, every 2 s or so many.",
)
@options.as_json
def status(config: Path | None, days: int, watch: float | None, as_json: bool) -> int:
    """Show the collector, its feeds, and the days in spool and daily files.

    Exit code 1 when capture is not running or its word is older than half a minute.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415

    settings = options.load_settings(config)
    while True:
        now_ns = time.time_ns()
        found = _look(settings.spool, settings.daily, now_ns, days)
        if as_json:
            click.echo(msgspec.json.encode(found))
        else:
            terminal.show(*_shown(found, now_ns), in_place=bool(watch))
        if not watch:
            return 0 if found["capturing"] else 1
        time.sleep(watch)


_STALE_NS = 30_000_000_000
_FULL_BYTES = 1 << 20


def _look(spool: Path, daily: Path, now_ns: int, days: int) -> dict[str, Any]:
    from edc_pipeline.consolidation.names import daily_file  # noqa: PLC0415
    from edc_pipeline.market_day import day_bounds, market_day  # noqa: PLC0415
    from edc_pipeline.spool.inventory import inventory  # noqa: PLC0415
    from edc_pipeline.spool.ledger import Ledger  # noqa: PLC0415
    from edc_pipeline.spool.owner import current_owner  # noqa: PLC0415

    held, owner = current_owner(spool)
    gaps, open_gaps = Ledger(spool).count_gaps(day_bounds(market_day(now_ns))[0])
    said, problem = _said(spool)
    fresh = said is not None and now_ns - said["at"] < _STALE_NS
    since = market_day(now_ns) - dt.timedelta(days=days - 1)
    rows = []
    for found in inventory(spool, since):
        path = daily_file(daily, found.event_type, found.day)
        row: dict[str, Any] = {
            "day": found.day.isoformat(),
            "event_type": found.event_type,
            "micro_batches": found.micro_batches,
            "rows_in_spool": found.rows,
            "bytes_in_spool": found.bytes,
            "unreadable": found.unreadable,
            "daily_file": None,
        }
        if path.exists():
            row["daily_file"] = _daily(path, spool)
        rows.append(row)
    return {
        "capturing": held and fresh,
        "held": held,
        "owner": owner,
        "collector": said,
        "problem": "; ".join(filter(None, [problem, _disk_is_full(spool)])),
        "open_gaps": open_gaps,
        "gaps_today": gaps,
        "days": rows,
        "spool": str(spool),
    }


def _said(spool: Path) -> tuple[dict[str, Any] | None, str]:
    """The collector's own word, and what is wrong with the file that holds it."""
    import msgspec  # noqa: PLC0415

    from edc_pipeline.capture.report import Report  # noqa: PLC0415
    from edc_pipeline.spool.layout import STATUS  # noqa: PLC0415
    from edc_pipeline.spool.status import read_status  # noqa: PLC0415

    said = read_status(spool)
    try:
        if said is not None:
            msgspec.convert(said, Report)
            return said, ""
        why = "is no JSON object" if (spool / STATUS).exists() else ""
    except msgspec.ValidationError as error:
        why = str(error)
    if not why:
        return None, ""
    remedy = "a collector that runs writes it anew every 2 s; else remove it"
    return None, f"{spool / STATUS} is damaged: {why}; {remedy}"


def _disk_is_full(spool: Path) -> str:
    """For ourselves: a collector that started on a full disk has no room to say so."""
    import shutil  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415

    try:
        free = shutil.disk_usage(spool).free
    except OSError:  # no spool yet
        return ""
    return f"the disk of {spool} is full: {terminal.size(free)} free" if free < _FULL_BYTES else ""


def _daily(path: Path, spool: Path) -> dict[str, Any]:
    from edc_pipeline.consolidation.after_retention import what_it_lacks  # noqa: PLC0415
    from edc_pipeline.consolidation.certificate import NoCertificate, read_certificate  # noqa: PLC0415

    try:
        certificate = read_certificate(path)
    except (NoCertificate, OSError) as error:
        return {"path": str(path), "problem": str(error)}
    return {
        "path": str(path),
        "rows_in": certificate.rows_in,
        "rows": certificate.rows,
        "balanced": certificate.balanced,
        "state": certificate.state.state,
        "why": certificate.state.why,
        "lacks": what_it_lacks(certificate, path, spool),
    }


def _shown(found: dict[str, Any], now_ns: int) -> list[Any]:
    said = found["collector"]
    shown: list[Any] = [_headline(found, now_ns), *filter(None, [found["problem"]])]
    if said is not None:
        shown.append(_feeds(said, now_ns, capturing=found["capturing"]))
    if found["capturing"]:
        shown.append(_of_late(said))
    if said is not None and (refuses := said.get("disk_problem")):
        shown.append(f"the disk refuses: {refuses}")
    for feed in said["feeds"] if said else []:
        if refused := feed.get("refused_calls"):
            why = ", ".join(f"{reason} {number:,}" for reason, number in refused.items())
            shown.append(f"{feed['name']}: refused {sum(refused.values()):,} calls: {why}")
        if again := feed.get("delivered_again"):
            shown.append(f"{feed['name']}: {again:,} calls brought what had come already")
        shown += [f"{feed['name']}: payload drift: {words}" for words in feed.get("drift", [])]
    return [*shown, _days(found)]


def _feeds(said: dict[str, Any], now_ns: int, *, capturing: bool) -> Any:
    from edc_pipeline.cli import terminal  # noqa: PLC0415

    feeds = terminal.table(
        "Feeds", "feed", "state", "#frames", "#events", "#control", "#quarantined", "#gaps",
        "#reconnects", "last frame", "problem",
    )  # fmt: skip
    for feed in said["feeds"]:
        feeds.add_row(
            feed["name"],
            feed["state"] if capturing else "stopped",
            f"{feed['frames']:,}",
            f"{sum(feed['events'].values()):,}",
            f"{feed['control']:,}",
            f"{feed['quarantined']:,}",
            f"{feed.get('gaps', 0):,}",
            f"{feed['reconnects']:,}",
            terminal.ago(feed["last_frame_at"], now_ns),
            _problems(feed),
        )
    return feeds


def _of_late(said: dict[str, Any]) -> Any:
    """Rates and latencies of the last seconds; half of the samples, and 99 of 100, were quicker."""
    from edc_pipeline.cli import terminal  # noqa: PLC0415

    worst = f"{said.get('commit_worst_s', 0) * 1e3:.0f} ms at the worst"
    allowed = f"{said.get('commit_interval_s', 0) * 1e3:.0f} ms allowed"
    ways = ("vendor_to_receive", "receive_to_published", "receive_to_durable")
    waits = f"{said['waiting_rows']:,} rows"
    if said.get("waiting_bytes"):  # of an older collector nothing is known
        waits += f" and {terminal.size(said['waiting_bytes'])} for the quarantine"
    made = terminal.table(
        f"Of late ({waits} wait; commits took {worst}, {allowed})",
        "feed", "#frames/s", "#events/s",
        *(f"#{way.replace('_to_', '→')} p50, p99" for way in ways),
    )  # fmt: skip
    for feed in said["feeds"]:
        late = feed.get("of_late") or {}
        latencies = [late.get("latency", {}).get(way) for way in ways]
        made.add_row(
            feed["name"],
            f"{late.get('frames_per_s', 0):,.0f}",
            f"{late.get('events_per_s', 0):,.0f}",
            *("–" if x is None else f"{_ms(x['p50'])}, {_ms(x['p99'])} ms" for x in latencies),
        )
    return made


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if abs(seconds) < 1 else f"{seconds * 1e3:,.0f}"


def _days(found: dict[str, Any]) -> Any:
    from edc_pipeline.cli import terminal  # noqa: PLC0415

    days = terminal.table(
        "Days", "day", "type", "#micro-batches", "#rows in spool", "#size", "#rows in daily file",
        "state",
    )  # fmt: skip
    for row in found["days"]:
        days.add_row(
            row["day"],
            row["event_type"],
            f"{row['micro_batches']:,}",
            f"{row['rows_in_spool']:,}",
            terminal.size(row["bytes_in_spool"]),
            f"{row['daily_file']['rows']:,}" if "rows" in (row["daily_file"] or {}) else "–",
            _day_state(row),
        )
    return days if found["days"] else f"no micro-batches in {found['spool']}"


def _problems(feed: dict[str, Any]) -> str:
    """A collector of an older version says less of itself."""
    said = [feed["last_problem"]]
    if (asked := feed.get("subscription", "")) and asked not in said:
        said.append(asked)
    said += [words for words in feed.get("mute", []) if words not in said]
    if beyond := feed.get("symbols_beyond"):
        said.append(f"{beyond:,} times a symbol beyond the {feed['symbols']:,} that are remembered")
    if silent := feed.get("silent_symbols"):
        more = feed["silent_symbol_count"] - len(silent)
        said.append(f"not heard: {', '.join(silent)}{f' and {more} more' if more else ''}")
    return "; ".join(filter(None, said))


def _headline(found: dict[str, Any], now_ns: int) -> str:
    from edc_pipeline.cli import terminal  # noqa: PLC0415

    said, gaps, lasting = found["collector"], found["gaps_today"], found["open_gaps"]
    told = [f"{gaps:,} gap{'s' * (gaps != 1)} today"] if gaps else []
    told += [f"{lasting:,} open gap{'s' * (lasting != 1)}"] if lasting else []
    tail = f"; {', '.join(told)}, see edc gaps" if told else ""
    if found["capturing"]:
        since = terminal.market_time(said["started_at"])
        return f"capturing since {since} (New York), process {said['pid']}{tail}"
    if found["held"]:
        return f"the spool is owned, but its collector has not spoken for half a minute{tail}"
    if said is None and found["problem"]:
        return f"not capturing{tail}"
    if said is None:
        return f"nothing was ever captured into {found['spool']}; start with: edc capture"
    return f"not capturing; the last collector spoke {terminal.ago(said['at'], now_ns)}{tail}"


def _day_state(row: dict[str, Any]) -> str:
    made = row["daily_file"]
    if row["unreadable"]:
        return f"{len(row['unreadable'])} unreadable micro-batches"
    if made is None:
        return "not consolidated"
    if "problem" in made:
        return f"unreadable: {made['problem']}"
    if made["lacks"]:
        return str(made["lacks"])
    if made["rows_in"] < row["rows_in_spool"]:
        return f"{row['rows_in_spool'] - made['rows_in']:,} rows newer than its file"
    if not made["balanced"]:
        return "DOES NOT BALANCE"
    return f"{made['state']}: {made['why']}" if made["why"] else str(made["state"])
