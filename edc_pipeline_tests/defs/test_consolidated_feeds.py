"""Materialise a partition in-process, from a real spool to a real daily file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from edc_pipeline.defs.assets import consolidated_feeds, micro_batches
from edc_pipeline.defs.checks import CHECKS
from edc_pipeline.defs.configuration import plain_failure
from edc_pipeline.defs.partitions import key_of
from edc_pipeline.events import EventType
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches


def materialise(
    instance: dg.DagsterInstance, event_type: EventType = "trade"
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [micro_batches, consolidated_feeds],
        selection=[consolidated_feeds],
        partition_key=key_of(DAY, event_type),
        instance=instance,
        raise_on_error=False,
    )


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (made,) = result.asset_materializations_for_node("consolidated_feeds")
    return {name: value.value for name, value in made.metadata.items()}


def rows_of(result: dg.ExecuteInProcessResult, name: str) -> list[Mapping[str, Any]]:
    (made,) = result.asset_materializations_for_node("consolidated_feeds")
    table = made.metadata[name]
    assert isinstance(table, dg.TableMetadataValue)
    return [record.data for record in table.records]


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {c.check_name: c for c in result.get_asset_check_evaluations()}


def two_connections(spool: Path) -> None:
    """The same three prints by two connections: three rows stay."""
    prints = [[event(ts_event=OPEN + n, price=100.0 + n)] for n in range(3)]
    again = [[event(ts_event=OPEN + n, price=100.0 + n)] for n in range(3)]
    write_batches(spool, [frames(prints, "a"), frames(again, "b", first_frame=1000)])


def test_a_day_becomes_a_file(data: Path, instance: dg.DagsterInstance) -> None:
    two_connections(data / "spool")
    result = materialise(instance)
    assert result.success
    says = told(result)
    assert (says["rows_in"], says["rows"], says["duplicates"], says["symbols"]) == (6, 3, 3, 1)
    assert says["duplicates_other_connection"] == 3
    assert says["first_event"] == "2026-01-22 09:30:00.000000000 EST"
    assert says["last_event"] == "2026-01-22 09:30:00.000000002 EST"
    assert says["bytes"] == Path(says["path"]).stat().st_size
    assert says["rows_per_second"] > 0
    assert [r["symbol"] for r in rows_of(result, "preview")] == ["SPY"] * 3
    assert [r["price"] for r in rows_of(result, "preview")] == [100.0, 101.0, 102.0]
    (by_feed,) = rows_of(result, "by_vendor")
    assert (by_feed["feed"], by_feed["rows_in"], by_feed["rows"]) == ("acme/tape", 6, 3)
    assert len(pd.read_hdf(says["path"])) == 3


def test_the_line_to_paste_works(data: Path, instance: dg.DagsterInstance) -> None:
    two_connections(data / "spool")
    code = told(materialise(instance))["read_it"].removeprefix("```python\n").removesuffix("\n```")
    *imports, last = code.splitlines()
    names: dict[str, Any] = {}
    exec("\n".join(imports), names)
    assert len(eval(last, names)) == 3


def test_every_check_passes_on_a_good_day(data: Path, instance: dg.DagsterInstance) -> None:
    two_connections(data / "spool")
    assert {n: c.passed for n, c in checks(materialise(instance)).items()} == dict.fromkeys(
        CHECKS,
        True,
    )


def test_the_same_input_is_the_same_data(data: Path, instance: dg.DagsterInstance) -> None:
    two_connections(data / "spool")
    first, second = told(materialise(instance)), told(materialise(instance))
    assert (first["unchanged"], second["unchanged"]) == (False, True)
    assert first["content_hash"] == second["content_hash"]
    event_log = instance.get_latest_materialization_event(dg.AssetKey("consolidated_feeds"))
    assert event_log is not None
    assert event_log.asset_materialization is not None
    tags = event_log.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == first["content_hash"]


def test_a_ledger_that_counts_more_is_a_red_light(data: Path, instance: dg.DagsterInstance) -> None:
    spool = data / "spool"
    two_connections(spool)
    source = Source("stocks", "acme", "tape")
    Ledger(spool).collector_started("two", OPEN)
    Ledger(spool).flushed(
        "two", through_frame=0, at=OPEN, frames={}, events={(source, "trade", DAY): 2}
    )
    result = materialise(instance)
    assert result.success  # the file and its numbers are there to be looked at
    check = checks(result)["ledger_balances"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "2 missing" in (check.description or "")


def test_crossed_quotes_and_bad_prices_are_named(data: Path, instance: dg.DagsterInstance) -> None:
    quotes = [
        [event("quote", ts_event=OPEN)],
        [event("quote", ts_event=OPEN + 1, bid_price=102.0)],
        [event("quote", ts_event=OPEN + 2, bid_price=0.0)],
        [event("quote", ts_event=OPEN + 3, bid_price=float("nan"))],
    ]
    write_batches(data / "spool", [frames(quotes)], event_type="quote")
    check = checks(materialise(instance, "quote"))["sane_prices"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    values: dict[str, Any] = {n: v.value for n, v in check.metadata.items()}
    assert (values["insane_rows"], values["rows_crossed"], values["rows_non_positive"]) == (2, 1, 1)
    rows = check.metadata["first_rows"]
    assert isinstance(rows, dg.TableMetadataValue)
    assert [r.data["row"] for r in rows.records] == [1, 2]


def test_gaps_are_told_and_warn(data: Path, instance: dg.DagsterInstance) -> None:
    spool = data / "spool"
    two_connections(spool)
    gap = Gap(
        source=Source("stocks", "acme", "tape"),
        symbol="",
        from_ns=OPEN,
        to_ns=OPEN + 90 * 10**9,
        size=None,
        state="closed",
        reason="closed with code 1006",
    )
    Ledger(spool).flushed("one", through_frame=9, at=OPEN, frames={}, events={}, gaps=[gap])
    result = materialise(instance)
    check = checks(result)["gaps"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["gap_seconds"].value == 90.0
    assert "gaps" in told(result)


def test_nothing_captured_is_a_line_and_no_retry(data: Path, instance: dg.DagsterInstance) -> None:
    (data / "spool").mkdir(parents=True)
    result = materialise(instance)
    assert not result.success
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    user_failure = failure.step_failure_data.user_failure_data
    assert user_failure is not None
    assert "2026-01-22" in (user_failure.description or "")


def test_what_no_retry_mends_is_not_retried() -> None:
    assert plain_failure("no micro-batches").allow_retries is False


def test_wrong_settings_are_a_line(
    data: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDC_CONSOLIDATION__CODEC", "zip")
    result = materialise(instance)
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    user_failure = failure.step_failure_data.user_failure_data
    assert user_failure is not None
    assert "EDC_CONSOLIDATION__CODEC" in (user_failure.description or "")


def test_a_plain_string_of_tags_will_do(data: Path, instance: dg.DagsterInstance) -> None:
    """A launch by raw tags carries the key as text, not as a MultiPartitionKey."""
    two_connections(data / "spool")
    job = dg.Definitions(
        assets=[micro_batches, consolidated_feeds],
        jobs=[dg.define_asset_job("one", selection=[consolidated_feeds])],
    ).resolve_job_def("one")
    result = job.execute_in_process(
        instance=instance, tags={"dagster/partition": f"{DAY}|trade"}, raise_on_error=False
    )
    assert result.success
