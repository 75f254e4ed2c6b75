"""What a replay into a pipeline did, and who may hold it back."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from edc_pipeline.events import EventType

COLLECTOR: Final = "replay"  # of events; frames keep the collector that received them

# Called before each frame or block is let in, with its time; False: it is left out.
Gate = Callable[[int], bool]


@dataclass(slots=True)
class Done:
    """What went in."""

    frames: int = 0
    events: Counter[EventType] = field(default_factory=Counter)
    other_days: int = 0  # events of the frames that are not of the day
    not_wanted: int = 0  # events of other symbols
    left_out: int = 0  # frames or events that the gate held back
    days: set[dt.date] = field(default_factory=set)
    first_at: int | None = None  # when the first frame and the last one were received
    last_at: int | None = None
