"""The names of daily files. The only place that spells them.

daily/
  consol_feeds_trade_2026_01_22.h5
  versions/consol_feeds_trade_2026_01_22.0001.h5     superseded, the highest number the latest
  .consol_feeds_trade_2026_01_22.h5.lock             held by whoever consolidates it
"""

from __future__ import annotations

import datetime as dt
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, get_args

from edc_pipeline.events import EVENT_TYPES, EventType

Codec = Literal["blosc2-lz4", "zstd", "zlib"]
CODECS: Final[tuple[Codec, ...]] = get_args(Codec)

Order = Literal["time", "symbol"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)

# Datasets in the file's root, beside the table's group.
CERTIFICATE: Final = "certificate"
SYMBOLS: Final = "symbols"  # every symbol, its rows, its first row
NEAR_DUPLICATES: Final = "near_duplicates"  # rows whose id another row has with other content

_NAME: Final = re.compile(
    rf"consol_feeds_(?P<event_type>{'|'.join(EVENT_TYPES)})_(?P<day>\d{{4}}_\d\d_\d\d)"
    r"(?P<version>\.\d{4,})?\.h5"
)


def daily_file(out: Path, event_type: EventType, day: dt.date) -> Path:
    return out / f"consol_feeds_{event_type}_{day:%Y_%m_%d}.h5"


def parse_daily_file(path: Path) -> tuple[EventType, dt.date] | None:
    """What a daily file's name says that it holds; None for a name that is none of those."""
    match = _NAME.fullmatch(path.name)
    return None if match is None or match["version"] else says_to_hold(path)


def says_to_hold(path: Path) -> tuple[EventType, dt.date] | None:
    """The same, of a superseded version too."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    with suppress(ValueError):
        day = dt.date.fromisoformat(match["day"].replace("_", "-"))
        return next(t for t in EVENT_TYPES if t == match["event_type"]), day
    return None


def lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def version_files(path: Path) -> list[Path]:
    """Superseded versions of a daily file, oldest first."""
    name = re.compile(re.escape(path.stem) + r"\.(\d{4,})\.h5")
    folder = path.parent / "versions"
    found = [
        (int(match[1]), p)
        for p in (folder.iterdir() if folder.is_dir() else ())
        if (match := name.fullmatch(p.name))
    ]
    return [p for _, p in sorted(found)]


def next_version(path: Path) -> Path:
    kept = version_files(path)
    number = int(kept[-1].suffixes[-2].removeprefix(".")) + 1 if kept else 1
    return path.parent / "versions" / f"{path.stem}.{number:04d}.h5"
