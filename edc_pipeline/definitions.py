"""What Dagster loads: one line per wing."""

import dagster as dg

from edc_pipeline.defs import alerts, assets, capture, day_report, retention, schedules

defs = dg.Definitions.merge(
    alerts.wing,
    assets.wing,
    capture.wing,
    day_report.wing,
    retention.wing,
    schedules.wing,
    # In one process: a process for each step costs 4 to 8 s more between Launch and finish.
    dg.Definitions(executor=dg.in_process_executor),
)
