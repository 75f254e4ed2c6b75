"""The two assets: what capture leaves on disk, and the daily file made of it."""

# No postponed annotations here: Dagster reads the types of `context` and of the result.
import time
from typing import Final

import dagster as dg

from edc_pipeline.defs.checks import CHECK_SPECS, check_results
from edc_pipeline.defs.configuration import NotConfigured, plain_failure, settings_now
from edc_pipeline.defs.micro_batch_report import MICRO_BATCHES
from edc_pipeline.defs.partitions import day_and_event_type, partition_of
from edc_pipeline.defs.what_it_holds import daily_file_metadata, schema_of_all_types

GROUP: Final = "market_data"

micro_batches: Final = dg.AssetSpec(
    MICRO_BATCHES,
    partitions_def=day_and_event_type,
    group_name=GROUP,
    kinds={"parquet"},
    description=(
        "What live capture has written to disk: small parquet files of one event type and one New"
        " York day, `spool/event_type=trade/day=2026-01-22/*.parquet`.\n\n"
        "Not materialised from here: the run of the job `capture` reports it every few minutes,"
        " and the sensor `keep_capture_running` keeps that run alive."
    ),
    metadata={"dagster/column_schema": schema_of_all_types(lineage=True)},
)


@dg.asset(
    partitions_def=day_and_event_type,
    deps=[micro_batches],
    check_specs=CHECK_SPECS,
    group_name=GROUP,
    kinds={"hdf5", "pandas"},
    metadata={"dagster/column_schema": schema_of_all_types()},
    description=(
        "One file for each New York day and event type, `daily/consol_feeds_trade_2026_01_22.h5`:"
        " all micro-batches of that day, repeats left out, in the order of `ts_event`.\n\n"
        "Any pandas reads it: `pd.read_hdf(path)`. Materialise a day again whenever you like:"
        " unchanged input leaves the file untouched, and a former file stays in place until the"
        " new one is written and read back. Today's file is provisional."
    ),
)
def consolidated_feeds(
    context: dg.AssetExecutionContext,
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parametrised one
    from edc_pipeline.consolidation import (  # noqa: PLC0415 - heavy
        CannotConsolidate,
        consolidate,
        verify,
    )

    day, event_type = partition_of(context.partition_key)
    try:
        settings = settings_now()
        started = time.perf_counter()
        made = consolidate(
            settings.spool,
            settings.daily,
            event_type,
            day,
            codec=settings.consolidation.codec,
            versions=settings.consolidation.versions,
            sealing_at=settings.consolidation.at,
        )
        seconds = time.perf_counter() - started
    except (NotConfigured, CannotConsolidate) as reason:
        raise plain_failure(reason) from None
    for warning in made.warnings:
        context.log.warning(warning)
    return dg.MaterializeResult(
        metadata=daily_file_metadata(made, seconds),
        check_results=check_results(made.path, made.certificate, verify(made.path)),
        data_version=dg.DataVersion(made.certificate.content_hash),
    )


wing: Final = dg.Definitions(assets=[micro_batches, consolidated_feeds])
