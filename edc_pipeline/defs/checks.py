"""The checks of a daily file, as Dagster shows them. A red light means: do not trade on this file.

None blocks: the file and its numbers are there to be looked at, and nothing downstream runs yet.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg

from edc_pipeline.defs.instants import new_york
from edc_pipeline.defs.partitions import day_and_event_type
from edc_pipeline.defs.sane_prices import find_insane

if TYPE_CHECKING:
    from edc_pipeline.consolidation import Certificate, Finding, Verification

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

_WARNING: Final[dict[str, str]] = {
    "sane_prices": "No price is zero or negative, no quote is crossed. Warns: vendors do send it.",
    "gaps": "Times in which a feed may have spoken and we did not hear it. Warns.",
}


def _check_specs() -> list[dg.AssetCheckSpec]:
    described = {name: text for name, (text, _) in _BY_RE_READING.items()} | _WARNING
    with warnings.catch_warnings():
        # In preview with 1.13: without it, the UI shows the last result whichever day it is of.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                name, asset=ASSET, description=text, partitions_def=day_and_event_type
            )
            for name, text in described.items()
        ]


CHECK_SPECS: Final = _check_specs()


def check_results(
    path: Path, certificate: Certificate, verified: Verification
) -> list[dg.AssetCheckResult]:
    return [
        *(_by_re_reading(name, verified) for name in _BY_RE_READING),
        _sane_prices(path, certificate),
        _gaps(certificate),
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


def _sane_prices(path: Path, certificate: Certificate) -> dg.AssetCheckResult:
    insane = find_insane(path, certificate.event_type, show=_SHOWN)
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
        for row in insane.shown
    ]
    return dg.AssetCheckResult(
        check_name="sane_prices",
        passed=not insane.rows,
        severity=dg.AssetCheckSeverity.WARN,
        description=insane.in_words,
        metadata={
            "insane_rows": insane.rows,
            **{f"rows_{what}": n for what, n in insane.by_fault.items()},
            **({"first_rows": dg.MetadataValue.table(records)} if records else {}),
        },
    )


def _gaps(certificate: Certificate) -> dg.AssetCheckResult:
    gaps = [g for g in certificate.gaps if g.state != "filled"]
    seconds = sum(max(0, g.to_ns - g.from_ns) for g in gaps if g.to_ns is not None) / 1e9
    still_open = sum(g.to_ns is None for g in gaps)
    said = f"{len(gaps)} gaps, {seconds:,.0f} s in all" + (
        f", {still_open} still open" if still_open else ""
    )
    return dg.AssetCheckResult(
        check_name="gaps",
        passed=not gaps,
        severity=dg.AssetCheckSeverity.WARN,
        description=said if gaps else "none known",
        metadata={
            "gaps": len(gaps),
            "gap_seconds": seconds,
            **({"first_gaps": gaps_table(certificate)} if gaps else {}),
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
