"""The two assets: what capture leaves on disk, and the daily file made of it."""

# No postponed annotations here: Dagster reads the types of `context` and of the result.
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import dagster as dg

from edc_pipeline import __version__
from edc_pipeline.defs.checks import CHECK_SPECS, check_results
from edc_pipeline.defs.configuration import NotConfigured, plain_failure, settings_now
from edc_pipeline.defs.micro_batch_report import MICRO_BATCHES
from edc_pipeline.defs.partitions import day_and_event_type, partition_of
from edc_pipeline.defs.what_it_holds import (
    column_lineage,
    daily_file_metadata,
    schema_of_all_types,
)

GROUP: Final = "market_data"
OWNERS: Final = ["team:market-data"]
# So many runs that read or write whole days at once, whoever launched them: see dagster.yaml.
POOL: Final = "whole_days"

micro_batches: Final = dg.AssetSpec(
    MICRO_BATCHES,
    partitions_def=day_and_event_type,
    group_name=GROUP,
    kinds={"parquet"},
    owners=OWNERS,
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
    owners=OWNERS,
    code_version=__version__,
    pool=POOL,
    metadata={
        "dagster/column_schema": schema_of_all_types(),
        "dagster/column_lineage": column_lineage(),
    },
    description=(
        "One file for each New York day and event type, `daily/consol_feeds_trade_2026_01_22.h5`:"
        " all micro-batches of that day, repeats left out, in the order of `ts_event`.\n\n"
        "Any pandas reads it: `pd.read_hdf(path)`. Materialise a day again whenever you like:"
        " unchanged input leaves the file untouched, and a former file stays in place until the"
        " new one is written and read back.\n\n"
        "A day is *provisional* until its sealing time, *sealed* when its ledger balances and its"
        " gaps are stated, and *restated* when it has changed after that. A red check means: do"
        " not trade on this file."
    ),
)
def consolidated_feeds(
    context: dg.AssetExecutionContext,
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parametrised one
    from edc_pipeline.consolidation.errors import CannotConsolidate  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.make import consolidate  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.progress import told_every  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.verification import verify  # noqa: PLC0415 - heavy
    from edc_pipeline.day_report.examine import examine  # noqa: PLC0415 - heavy

    day, event_type = partition_of(context.partition_key)
    stages = Stages()
    try:
        settings = settings_now()
        with stages.of("consolidate"):
            made = consolidate(
                settings.spool,
                settings.daily,
                event_type,
                day,
                codec=settings.consolidation.codec,
                order=settings.consolidation.order,
                memory=settings.consolidation.memory,
                progress=told_every(context.log.info),
                versions=settings.consolidation.versions,
                sealing_at=settings.consolidation.at,
            )
    except (NotConfigured, CannotConsolidate) as reason:
        raise plain_failure(reason) from None
    for warning in made.warnings:
        context.log.warning(warning)
    told = made.certificate
    with stages.of("check"):
        verified = verify(made.path)
    with stages.of("examine"):
        examined = examine(made.path, told)
    return dg.MaterializeResult(
        metadata=daily_file_metadata(made, examined, stages.seconds),
        check_results=check_results(settings.daily, told, verified, examined),
        data_version=dg.DataVersion(told.content_hash),
        tags={"edc/state": told.state.state},
    )


class Stages:
    """How long each stage of a materialisation took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


wing: Final = dg.Definitions(assets=[micro_batches, consolidated_feeds])
