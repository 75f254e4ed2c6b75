"""The Dagster wing: each definition is a few lines that call the rooms where the work is done.

    micro_batches ──► consolidated_feeds ──► day_report     assets.py, checks.py, day_report.py
         ▲                  ▲                    ▲
      capture        daily_consolidation,   write_day_reports       tell_what_is_wrong
    (capture.py)     late_micro_batches,                                (alerts.py)
                     refresh_today (schedules.py)

`capture_watch.py`, `due_days.py` and `late_batches.py` hold rules and do not know Dagster. A sensor
that looks costs 1.3 kB a tick, kept for a day: only the one that keeps capture alive looks often.
"""
