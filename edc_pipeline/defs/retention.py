"""Retention: what a sound daily file holds need not stay in the spool for ever."""

# No postponed annotations here: Dagster reads the types of `context`, of the configuration and of
# the result.
import datetime as dt
import time
from typing import Final

import dagster as dg

from edc_pipeline import __version__
from edc_pipeline.defs.assets import GROUP, OWNERS, POOL, consolidated_feeds
from edc_pipeline.defs.configuration import NotConfigured, plain_failure, settings_now
from edc_pipeline.market_day import MARKET_ZONE_NAME, market_day

_SHOWN: Final = 100  # days in the table; all are counted


class RetentionConfig(dg.Config):
    """`dry_run: false` removes; as it stands nothing is touched."""

    dry_run: bool = True


@dg.asset(
    deps=[dg.AssetDep(consolidated_feeds, partition_mapping=dg.LastPartitionMapping())],
    group_name=GROUP,
    kinds={"parquet"},
    owners=OWNERS,
    code_version=__version__,
    pool=POOL,
    description=(
        "Removes the micro-batches of days older than `retention.spool` (30 days) from the spool,"
        " where a daily file holds every row of them: the file is verified against them first, and"
        " a day that is provisional or does not balance keeps them.\n\n"
        "A dry run unless it is launched with `dry_run: false`: it says what would be freed, and"
        " what stays and why. The raw archive (`capture.raw_archive`) and former versions of daily"
        " files (`consolidation.versions`) are kept within their bounds as they grow."
    ),
)
def spool_retention(
    context: dg.AssetExecutionContext, config: RetentionConfig
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parametrised one
    from edc_pipeline.consolidation.retention import retire  # noqa: PLC0415 - heavy
    from edc_pipeline.spool.layout import batch_files, days_in  # noqa: PLC0415

    try:
        settings = settings_now()
    except NotConfigured as reason:
        raise plain_failure(reason) from None
    days = settings.retention.spool_days
    before = market_day(time.time_ns()) - dt.timedelta(days=days)
    done = [
        retire(settings.spool, settings.daily, event_type, day, dry_run=config.dry_run)
        for event_type, day in (days_in(settings.spool) if days else ())
        if day < before and batch_files(settings.spool, event_type, day)
    ]
    freed = sum(one.bytes for one in done)
    kept = [one for one in done if one.kept_because]
    for one in kept:
        context.log.warning(f"{one.day} {one.event_type} stays: {one.kept_because}")
    value = dg.MetadataValue
    records = [
        dg.TableRecord(
            {
                "day": one.day,
                "event_type": one.event_type,
                "micro_batches": len(one.removed),
                "bytes": one.bytes,
                "stays_because": one.kept_because[:300],
            }
        )
        for one in done[:_SHOWN]
    ]
    return dg.MaterializeResult(
        metadata={
            "dry_run": value.bool(config.dry_run),
            "bytes_freed": value.int(0 if config.dry_run else freed),
            "bytes_that_can_be_freed": value.int(freed if config.dry_run else 0),
            "days_before": value.text(str(before) if days else "none: retention.spool is 0d"),
            "days_that_stay": value.int(len(kept)),
            **({"days": value.table(records)} if records else {}),
        }
    )


retain: Final = dg.define_asset_job(
    "retain",
    selection=dg.AssetSelection.assets(spool_retention),
    executor_def=dg.in_process_executor,
    description="Frees the spool of what sound daily files hold; a dry run unless told otherwise.",
)

weekly_retention: Final = dg.ScheduleDefinition(
    name="weekly_retention",
    job=retain,
    cron_schedule="0 3 * * 0",
    execution_timezone=MARKET_ZONE_NAME,
    run_config=dg.RunConfig({"spool_retention": RetentionConfig(dry_run=False)}),
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Sunday at three in New York. Off until somebody switches it on: it removes.",
)


wing: Final = dg.Definitions(assets=[spool_retention], jobs=[retain], schedules=[weekly_retention])
