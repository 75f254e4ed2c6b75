"""A partition is one New York day of one event type; keys read `2026-01-22|trade`."""

from __future__ import annotations

import datetime as dt
from typing import Final, cast

import dagster as dg

from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import MARKET_ZONE_NAME, parse_day

# Fixed, so that every process and every machine agrees on the keys; early enough that a recorded
# day can be replayed, late enough that the UI draws hundreds of days and not thousands.
FIRST_DAY: Final = "2025-01-01"

days: Final = dg.DailyPartitionsDefinition(
    start_date=FIRST_DAY,
    timezone=MARKET_ZONE_NAME,
    end_offset=1,  # today too: its file is provisional until the day is over
)

day_and_event_type: Final = dg.MultiPartitionsDefinition(
    {"date": days, "event_type": dg.StaticPartitionsDefinition(list(EVENT_TYPES))}
)


def partition_of(key: str) -> tuple[dt.date, EventType]:
    """`2026-01-22|trade` → (day, event type).

    By the definition, always: a launch by raw tags hands a plain string, not a MultiPartitionKey.
    """
    named = day_and_event_type.get_partition_key_from_str(key).keys_by_dimension
    return parse_day(named["date"]), cast("EventType", named["event_type"])


def key_of(day: dt.date, event_type: EventType) -> str:
    return str(dg.MultiPartitionKey({"date": day.isoformat(), "event_type": event_type}))
