"""The part of the settings tree that is about days: how they become files, how they are watched,
what is told when something is wrong, and how long what is kept."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

# Addresses of `apprise`, separated by spaces; they hold tokens, so they stand in no file.
ALERT_URLS: Final = "EDC_ALERT_URLS"

TimeOfDay = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]  # in New York
Days = Annotated[str, Field(pattern=r"^\d{1,4}d$")]
AlertKind = Literal["capture_down", "feed_mute", "run_failed", "check_red", "disk_short"]


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Consolidation(Tree):
    """How a day becomes a file."""

    codec: Literal["blosc2-lz4", "zstd", "zlib"] = "blosc2-lz4"
    # How rows lie in the file. By symbol, one symbol's day is read in milliseconds, and a stretch
    # of time over all symbols is not.
    order: Literal["time", "symbol"] = "time"
    # What a consolidation may use; a larger day goes over the disk.
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*(MiB|GiB|MB|GB)$")] = "1GiB"
    versions: Annotated[int, Field(ge=0, le=100)] = 3
    # New York time at which yesterday is consolidated and may be sealed: past midnight, plus room
    # for late data.
    at: TimeOfDay = "00:20"
    # How far back the nightly run looks for days that were missed, e.g. with the machine off.
    look_back_days: Annotated[int, Field(ge=1, le=60)] = 7
    # Today's provisional file is made again so often, if new micro-batches have landed; 0: never.
    today_every_minutes: Annotated[int, Field(ge=0, le=1440)] = 0


class Dagster(Tree):
    """How capture shows itself in the Dagster UI."""

    # An event-log entry costs 9 kB for ever: report every few minutes, never per micro-batch.
    report_seconds: Annotated[float, Field(ge=5, le=86_400)] = 300.0
    # When a day's capture run hands over to the next, without a hole. New York's stocks have
    # stopped trading by then, after hours too. Empty: one run for as long as it lives.
    rotate_at: Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d)?$")] = "20:15"


class Alerts(Tree):
    """What is told to a person who does not look. Where to: `EDC_ALERT_URLS`."""

    # One message a kind in so many minutes, however many troubles; what is held back is told then.
    cool_down_minutes: Annotated[float, Field(ge=0, le=1440)] = 30.0
    # A trouble that is over before that was none worth waking anybody for.
    patience_minutes: Annotated[float, Field(ge=0, le=1440)] = 3.0
    disk_free_gib: Annotated[float, Field(ge=0)] = 10.0
    recovery: bool = True  # tell when it is over, too
    mute: frozenset[AlertKind] = frozenset()  # kinds that nobody wants to hear of


class Retention(Tree):
    """How long is kept what is in a verified daily file. 0d: for ever."""

    spool: Days = "30d"

    @property
    def spool_days(self) -> int:
        return int(self.spool.removesuffix("d"))
