"""The Dagster wing: each definition is a few lines that call the rooms where the work is done.

    micro_batches ──► consolidated_feeds        assets.py, checks.py
         ▲                  ▲      ▲
      capture        daily_consolidation, late_micro_batches
    (capture.py)             (schedules.py)

`capture_watch.py`, `late_batches.py` and `sane_prices.py` hold rules and do not know Dagster.
"""
