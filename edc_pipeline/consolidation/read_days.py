"""`edc_pipeline.read`: days of events into pandas, polars or Arrow, the quick way.

Here is what was asked for, and where each day is read from; `day_rows` reads it, `frames_of_days`
makes frames of it. Where a day has no file yet, or micro-batches have landed since its file was
made, the day is settled from the spool as a consolidation would settle it, and written nowhere.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Final

from edc_pipeline.consolidation.after_retention import gone, lost, what_it_lacks
from edc_pipeline.consolidation.certificate import NoCertificate, read_certificate
from edc_pipeline.consolidation.corrections import COLUMNS_NEEDED
from edc_pipeline.consolidation.day_rows import DayRows, FromFile, FromSpool, Wish
from edc_pipeline.consolidation.errors import DamagedFile, Moved, NoSuchData, RowsMissing
from edc_pipeline.consolidation.frames_of_days import As, finished, frame_of, part
from edc_pipeline.consolidation.gathered import joined
from edc_pipeline.consolidation.held import in_spool
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.consolidation.rows import Rows
from edc_pipeline.durable_file import seen
from edc_pipeline.events import COLUMNS, EVENT_TYPES, EventType
from edc_pipeline.market_day import parse_day, storable_day
from edc_pipeline.spool.layout import batch_names
from edc_pipeline.spool.micro_batch import UnreadableBatch
from edc_pipeline.spool.retired import was_retired

Day = dt.date | str
_LOOKS: Final = 4  # for a day that is made anew or retired just when it is to be read
_NAMED: Final = 3  # so many micro-batches are named in a warning


def read(
    event_type: EventType,
    days: Day | tuple[Day, Day] | Sequence[Day],
    *,
    symbols: str | Iterable[str] | None = None,
    columns: Iterable[str] | None = None,
    as_: As = "pandas",
    blocks: int | None = None,
    corrected: bool = False,
    data: Path | str | None = None,
) -> Any:
    """Events of a day, of a range of days (a tuple: the first and the last), or of a list of days.

    Text comes as categoricals, times in America/New_York. With `blocks`, an iterator over pieces of
    at most so many rows, for what is larger than memory. `corrected` applies the vendors' breaks
    and corrections of trades, which the file only keeps, each day by itself: ids may begin anew
    with every day, so that a break names no print of the day before. `data` is the folder that
    holds `daily/` and `spool/`; by default that of the settings.

    A day without a file, or with micro-batches that its file does not hold yet, is read from the
    spool; micro-batches that can't be read are left out, with a warning (`RowsMissing`). How far
    each day may be relied on stands in `.attrs["days"]` of a pandas frame and in the schema's
    metadata (`edc`, JSON) of an Arrow table; polars frames have no place for it.

    >>> edc_pipeline.read("trade", "2026-01-22", symbols="SPY", columns=["ts_event", "price"])
    >>> edc_pipeline.read("quote", ("2026-01-20", "2026-01-22"), as_="polars")
    """
    wish = _wish(event_type, symbols, columns, corrected)
    if as_ not in ("pandas", "polars", "arrow"):
        raise NoSuchData(f"as_={as_!r}: give pandas, polars or arrow")
    if blocks is not None:
        _check_blocks(blocks, corrected=corrected)
    folder = _data_folder() if data is None else Path(data)
    if folder.exists() and not folder.is_dir():
        raise NoSuchData(f"data={folder}: give the folder that holds daily/ and spool/")
    found = [
        (day, _source(folder, wish.event_type, day)) for day in _days(folder, wish.event_type, days)
    ]
    if blocks is not None:
        return _in_blocks(folder, found, wish, as_, blocks)
    pieces, states = [], {}
    for day, first in found:
        source, rows = _whole(folder, day, first, wish)
        source.state.rows = rows.count
        _warn_of_missing(wish.event_type, day, source)
        pieces.append(rows)
        states[day.isoformat()] = source.state
    whole = joined(wish.event_type, wish.columns, pieces) if len(pieces) > 1 else pieces[0]
    return frame_of(whole, as_, wish, states)


def _whole(folder: Path, day: dt.date, source: DayRows, wish: Wish) -> tuple[DayRows, Rows]:
    """The rows of a day, and where they were read from in the end."""
    for _ in range(_LOOKS):
        try:
            return source, finished(source.whole(wish), wish)
        except Moved:
            source = _source(folder, wish.event_type, day)
    return source, finished(source.whole(wish), wish)


def _in_blocks(
    folder: Path, found: list[tuple[dt.date, DayRows]], wish: Wish, as_: As, rows: int
) -> Iterator[Any]:
    for day, first in found:
        warned = -1
        for source, piece in _pieces(folder, day, first, wish):
            if len(source.state.set_aside) > warned:
                warned = len(source.state.set_aside)
                _warn_of_missing(wish.event_type, day, source)
            for start in range(0, piece.count, rows):
                some = part(piece, start, start + rows)
                source.state.rows += some.count
                yield frame_of(some, as_, wish, {day.isoformat(): source.state})
        if warned < 0:  # it has no such rows
            _warn_of_missing(wish.event_type, day, first)


def _pieces(
    folder: Path, day: dt.date, source: DayRows, wish: Wish
) -> Iterator[tuple[DayRows, Rows]]:
    """The same, as long as nothing was given yet: what comes behind that must be of one source."""
    looks = 0
    while True:
        given = False
        try:
            for piece in source.pieces(wish):
                given = True
                yield source, piece
            return
        except Moved:
            looks += 1
            if given or looks > _LOOKS:
                raise
            source = _source(folder, wish.event_type, day)


def _warn_of_missing(event_type: EventType, day: dt.date, source: DayRows) -> None:
    state = source.state
    if source.lacks:
        warnings.warn(source.lacks, RowsMissing, stacklevel=3)
    # A file whose ledger balances misses nothing, whatever lay beside its micro-batches.
    if state.balanced or not state.set_aside:
        return
    named = "; ".join(
        f"{s.name} ({'rows unknown' if s.rows is None else f'{s.rows:,} rows'}): {s.reason}"
        for s in state.set_aside[:_NAMED]
    )
    more = len(state.set_aside) - _NAMED
    warnings.warn(
        f"{event_type} of {day} is read without {len(state.set_aside)} of its micro-batches, which"
        f" can't be: {named}{f'; and {more} more' if more > 0 else ''}",
        RowsMissing,
        stacklevel=3,
    )


def _source(folder: Path, event_type: EventType, day: dt.date) -> DayRows:
    path, spool = daily_file(folder / "daily", event_type, day), folder / "spool"
    try:
        was = seen(path)
    except FileNotFoundError:
        return _without_file(path, spool, event_type, day)
    try:
        # Only whether it is whole: to look at every byte takes as long as to read a symbol.
        certificate = read_certificate(path, thoroughly=False)
    except NoCertificate as error:
        if isinstance(error.__cause__, DamagedFile):
            raise error.__cause__ from None
        raise DamagedFile(path, "as a whole", str(error)) from None
    lie = in_spool(certificate, spool)
    new = len(lie.late)
    # Without all that the file was made of, the spool can't tell the whole day.
    if new and {i.name for i in certificate.inputs} <= lie.names:
        return FromSpool(spool, day, f"{new} micro-batches have landed since its file was made")
    source = FromFile(path, was, certificate)
    lacks = what_it_lacks(certificate, path, spool)
    if new and not lacks:
        lacks = (
            f"{new} micro-batches of {event_type} of {day} have landed since {path} was made"
            f" ({lie.late[0].name}), and their rows are not in what was read: not all that the file"
            " was made of is in the spool, so that they can't be told from repeats"
        )
    if lacks:
        source.lacks = source.state.why = lacks
        source.state.state, source.state.balanced = "provisional", False
    return source


def _without_file(path: Path, spool: Path, event_type: EventType, day: dt.date) -> DayRows:
    try:
        retired = gone(spool, event_type, day)
    except UnreadableBatch as damaged:
        raise NoSuchData(str(damaged)) from None
    if retired:
        raise NoSuchData(lost(spool, path, event_type, day, retired))
    if not batch_names(spool, event_type, day):
        raise NoSuchData(
            f"there is no {event_type} of {day} in {path.parent.parent}: neither {path.name} nor"
            " micro-batches"
        )
    return FromSpool(spool, day, "no daily file yet")


def _days(folder: Path, event_type: EventType, days: Any) -> list[dt.date]:
    if isinstance(days, dt.date | str) or not isinstance(days, Iterable):
        return [_day(days)]
    if not isinstance(days, tuple):
        found = [_day(day) for day in days]
        if not found:
            raise NoSuchData("no day was asked for")
        return found
    if len(days) != 2:
        raise NoSuchData(f"{days!r}: give the first day and the last, or a list of days")
    first, last = _day(days[0]), _day(days[1])
    if last < first:
        raise NoSuchData(f"the range ends on {last}, before it begins on {first}")
    span = (first + dt.timedelta(n) for n in range((last - first).days + 1))
    # Weekends and holidays have no data; a range passes over them.
    there = [
        day
        for day in span
        if daily_file(folder / "daily", event_type, day).exists()
        or batch_names(folder / "spool", event_type, day)
        or was_retired(folder / "spool", event_type, day)
    ]
    if not there:
        raise NoSuchData(f"there is no {event_type} from {first} to {last} in {folder}")
    return there


def _day(day: Any) -> dt.date:
    if isinstance(day, dt.datetime):
        raise NoSuchData(f"{day!r} is an instant; give a day of New York")
    if not isinstance(day, dt.date | str):
        raise NoSuchData(f'{day!r} is no day; give a date, or text like "2026-01-22"')
    try:
        return storable_day(day) if isinstance(day, dt.date) else parse_day(day)
    except ValueError as error:
        raise NoSuchData(str(error)) from None


def _wish(
    event_type: str,
    symbols: str | Iterable[str] | None,
    columns: Any,
    corrected_: bool,
) -> Wish:
    kind = next((t for t in EVENT_TYPES if t == event_type), None)
    if kind is None:
        raise NoSuchData(f"{event_type!r} is no event type: {', '.join(EVENT_TYPES)}")
    if corrected_ and kind != "trade":
        raise NoSuchData(f"corrected=True: only trades are corrected, not {event_type}")
    known = [c.name for c in COLUMNS[kind]]
    one = isinstance(columns, str) or not isinstance(columns, Iterable)
    wanted = known if columns is None else [columns] if one else list(columns)
    if not wanted:
        raise NoSuchData("no column was asked for")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise NoSuchData(f"{kind} has no column {unknown[0]!r}; it has {', '.join(known)}")
    needed = set(wanted) | (set(COLUMNS_NEEDED) if corrected_ else set())
    return Wish(
        kind,
        None if symbols is None else _symbols(symbols),
        tuple(name for name in known if name in needed),
        tuple(wanted),
        corrected_,
    )


def _check_blocks(blocks: Any, *, corrected: bool) -> None:
    if not isinstance(blocks, Integral) or int(blocks) < 1:
        raise NoSuchData(f"blocks={blocks!r}: give the rows of a piece, a whole number from 1 on")
    if corrected:
        raise NoSuchData(
            "corrected=True with blocks: a break may lie in another block than its"
            " print; read the day whole, or one symbol of it"
        )


def _symbols(symbols: Any) -> tuple[bytes, ...]:
    one = isinstance(symbols, str | bytes) or not isinstance(symbols, Iterable)
    named = [symbols] if one else list(symbols)
    try:
        return tuple(dict.fromkeys(str.encode(s) for s in named))
    except (TypeError, UnicodeEncodeError):
        raise NoSuchData(f"symbols={symbols!r}: give a symbol as text, or several") from None


def _data_folder() -> Path:
    from edc_pipeline.settings import SettingsMistakes, load  # noqa: PLC0415

    try:
        return load().data_dir
    except SettingsMistakes as mistakes:
        raise NoSuchData(f"the settings are wrong, give data=<folder>:\n{mistakes}") from None
