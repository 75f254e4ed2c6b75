"""The checks of a daily file, as Dagster shows them. A red light means: do not trade on this file.

| check | red | yellow |
|---|---|---|
| ledger_balances, no_duplicates, ordered, inside_its_day | whenever it fails | |
| sane_prices | prices that can't be meant in more than one row of a hundred | in any row |
| gaps | a feed missed more than a tenth of its session | any gap within a session |
| usual_rows | a feed has less than a quarter of its usual rows | less than half, or thrice |
| vendors_agree | a symbol's vendors are more than 5 % apart, in the middle | 0.5 % in any minute |

What to do for each stands in docs/runbook. None blocks: the file and its numbers are there to be
looked at. The rules stand in `consolidation.verification` and `day_report`.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg

from edc_pipeline.defs.instants import new_york
from edc_pipeline.defs.partitions import day_and_event_type
from edc_pipeline.market_day import parse_day

if TYPE_CHECKING:
    from edc_pipeline.consolidation.certificate import Certificate
    from edc_pipeline.consolidation.findings import Finding, Verification
    from edc_pipeline.day_report.agreement import Agreement
    from edc_pipeline.day_report.examine import Examined
    from edc_pipeline.day_report.missed import Missed
    from edc_pipeline.day_report.sane_prices import Insane
    from edc_pipeline.day_report.usual import FeedRows

ASSET: Final = dg.AssetKey("consolidated_feeds")
_SHOWN: Final = 50  # rows of a table in a check's metadata; all of them are counted

# Each check, what it means, and the findings of `verify` that it speaks for.
_BY_RE_READING: Final[dict[str, tuple[str, frozenset[str]]]] = {
    "ledger_balances": (
        "Events given out by capture = rows in micro-batches = rows in the file + duplicates.",
        frozenset({"ledger", "counts", "certificate", "inputs", "spool"}),
    ),
    "no_duplicates": (
        "No two rows are the same event; copies that the vendor meant are numbered 0, 1, 2 …",
        frozenset({"identity"}),
    ),
    "ordered": (
        "Rows go by ts_event, and are those that were written, for pandas and PyTables too.",
        frozenset({"order", "table", "content", "readers"}),
    ),
    "inside_its_day": (
        "Every event happened on this New York day, and the file is named for it.",
        frozenset({"day", "file"}),
    ),
}

_BY_LOOKING: Final[dict[str, str]] = {
    "sane_prices": (
        "Prices are positive, quotes are not crossed, nothing jumps by 15 robust deviations. Yellow"
        " in a few rows, since vendors do send it; red in more than one of a hundred."
    ),
    "gaps": (
        "Times within a session in which a feed may have spoken and we did not hear it. Red when a"
        " feed missed more than a tenth of its session."
    ),
    "usual_rows": (
        "As many rows as the median of this weekday in eight weeks, by feed. Yellow below a half or"
        " above thrice, red below a quarter."
    ),
    "vendors_agree": (
        "Vendors say the same price for a symbol in the same minute, within 0.5 %. Red when a"
        " symbol's vendors are more than 5 % apart most of the time."
    ),
}

CHECKS: Final = (*_BY_RE_READING, *_BY_LOOKING)


def _check_specs() -> list[dg.AssetCheckSpec]:
    described = {name: text for name, (text, _) in _BY_RE_READING.items()} | _BY_LOOKING
    with warnings.catch_warnings():
        # In preview with 1.13: without it, the UI shows the last result whichever day it is of.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name,
                asset=ASSET,
                description=f"{text} What to do: docs/runbook/{name}.md",
                partitions_def=day_and_event_type,
            )
            for name, text in described.items()
        ]


CHECK_SPECS: Final = _check_specs()


def check_results(
    daily: Path, certificate: Certificate, verified: Verification, examined: Examined
) -> list[dg.AssetCheckResult]:
    from edc_pipeline.day_report.earlier import usual_rows  # noqa: PLC0415 - heavy
    from edc_pipeline.day_report.missed import missed  # noqa: PLC0415

    rows = {feed: counts.rows for feed, counts in certificate.feeds.items()}
    usual = usual_rows(daily, certificate.event_type, parse_day(certificate.day), rows)
    return [
        *(_by_re_reading(name, verified) for name in _BY_RE_READING),
        _sane_prices(examined.insane),
        _gaps(certificate, missed(certificate)),
        # A day that is not over has too few rows by its nature.
        _usual_rows(usual, over=certificate.state.state != "provisional"),
        _vendors_agree(examined.agreement),
    ]


def check_of(finding: Finding) -> str:
    """The check that speaks for a finding; what none claims is a matter of the ledger."""
    for name, (_, spoken_for) in _BY_RE_READING.items():
        if finding.check in spoken_for:
            return name
    return "gaps" if finding.check == "gaps" else "ledger_balances"


def _by_re_reading(name: str, verified: Verification) -> dg.AssetCheckResult:
    mine = [f for f in verified.findings if check_of(f) == name]
    errors = [f for f in mine if f.severity == "error"]
    # A file that can't be read at all has passed no check.
    unread = verified.certificate is None
    said = mine or (verified.findings if unread else [])
    return dg.AssetCheckResult(
        check_name=name,
        passed=not errors and not unread,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(f.message for f in said[:_SHOWN]) or "as it should be",
        metadata={"findings": len(said), "rows": verified.rows},
    )


def _severity(*, red: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if red else dg.AssetCheckSeverity.WARN


def _sane_prices(insane: Insane) -> dg.AssetCheckResult:
    records = [
        dg.TableRecord(
            {
                "row": row.row,
                "what": row.what,
                "ts_event": new_york(row.ts_event),
                "symbol": row.symbol,
                "vendor": f"{row.vendor}/{row.feed}",
                "values": row.values,
            }
        )
        for row in sorted(insane.shown, key=lambda row: row.row)
    ]
    return dg.AssetCheckResult(
        check_name="sane_prices",
        passed=not insane.rows,
        severity=_severity(red=insane.untradable),
        description=insane.in_words,
        metadata={
            "insane_rows": insane.rows,
            **{f"rows_{what}": n for what, n in insane.by_fault.items()},
            **({"first_rows": dg.MetadataValue.table(records)} if records else {}),
        },
    )


def _gaps(certificate: Certificate, missed: list[Missed]) -> dg.AssetCheckResult:
    gaps = [g for g in certificate.gaps if g.state != "filled"]
    within = [m for m in missed if m.gaps]
    still_open = sum(g.to_ns is None for g in gaps)
    said = "none known"
    if gaps:
        parts = [
            f"{m.feed} missed {m.seconds:,.0f} s, {m.share:.1%} of its session" for m in within
        ]
        said = f"{len(gaps)} gaps: {'; '.join(parts) or 'all of them outside of sessions'}"
        said += f"; {still_open} still open" if still_open else ""
    return dg.AssetCheckResult(
        check_name="gaps",
        passed=not within and not still_open,
        severity=_severity(red=any(m.too_much for m in within)),
        description=said,
        metadata={
            "gaps": len(gaps),
            "gap_seconds": sum(m.seconds for m in missed),
            **({"first_gaps": gaps_table(certificate)} if gaps else {}),
        },
    )


def _usual_rows(feeds: list[FeedRows], *, over: bool) -> dg.AssetCheckResult:
    odd = [f for f in feeds if f.verdict in {"few", "far too few", "many"}] if over else []
    records = [
        dg.TableRecord(
            {
                "feed": f.feed,
                "rows": f.rows,
                "usual": "" if f.usual is None else round(f.usual),
                "days": f.days,
                "verdict": f.verdict if over or f.usual is None else "the day is not over",
            }
        )
        for f in feeds[:_SHOWN]
    ]
    words = [f"{f.feed}: {f.rows:,} rows, usually {f.usual:,.0f} ({f.verdict})" for f in odd]
    unknown = sum(f.usual is None for f in feeds)
    said = "; ".join(words) or (
        "nothing to compare with yet" if unknown == len(feeds) else "as usual"
    )
    return dg.AssetCheckResult(
        check_name="usual_rows",
        passed=not odd,
        severity=_severity(red=any(f.verdict == "far too few" for f in odd)),
        description=said,
        metadata={
            "feeds_compared": len(feeds) - unknown,
            **({"rows_by_feed": dg.MetadataValue.table(records)} if records else {}),
        },
    )


def _vendors_agree(agreement: Agreement) -> dg.AssetCheckResult:
    records = [
        dg.TableRecord(
            {
                "symbol": d.symbol,
                "vendors": " and ".join(d.vendors),
                "minutes": d.minutes,
                "apart": d.apart,
                "middle": f"{d.middle:.2%}",
                "worst": f"{d.worst:.2%}",
                "worst_minute": f"{d.worst_minute // 60:02d}:{d.worst_minute % 60:02d}",
            }
        )
        for d in agreement.pairs[:_SHOWN]
    ]
    return dg.AssetCheckResult(
        check_name="vendors_agree",
        passed=not agreement.apart,
        severity=_severity(red=bool(agreement.another_market)),
        description=agreement.in_words,
        metadata={
            "minutes_compared": agreement.compared,
            "minutes_apart": agreement.apart,
            **({"widest": dg.MetadataValue.table(records)} if records else {}),
        },
    )


def gaps_table(certificate: Certificate) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "feed": gap.name,
                    "symbol": gap.symbol or "all",
                    "from": new_york(gap.from_ns),
                    "to": new_york(gap.to_ns) if gap.to_ns is not None else "",
                    "state": gap.state,
                    "reason": gap.reason,
                }
            )
            for gap in certificate.gaps[:_SHOWN]
        ]
    )
