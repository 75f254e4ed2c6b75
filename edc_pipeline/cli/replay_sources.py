"""Which day, and from what: the options that `edc replay` and `edc simulate` share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edc_pipeline.cli.options import WrongCall
from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND, day_bounds

if TYPE_CHECKING:
    from edc_pipeline.replay.tick_source import EventSource

F = TypeVar("F", bound=Callable[..., Any])


def options(command: F) -> F:
    """`--spool`, `--daily`, `--ticks`: where the day lies."""
    for option in (
        click.option(
            "--ticks",
            multiple=True,
            metavar="FILE:MAPPING",
            help="A csv or parquet file of ticks (.zip, .gz too) and the YAML file that says"
            " which column is what. May be given several times.",
        ),
        click.option(
            "--daily",
            type=click.Path(path_type=Path, file_okay=False),
            help="The folder of daily files that holds the day. [default: that of the settings]",
        ),
        click.option(
            "--spool",
            type=click.Path(path_type=Path, file_okay=False),
            help="A spool whose raw archive holds the day's frames.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Asked:
    day: dt.date | None
    daily: Path | None
    ticks: tuple[str, ...]
    synthetic: bool = False
    events: int = 1_000_000
    symbols: tuple[str, ...] | None = None
    seed: int = 0


def event_sources(asked: Asked) -> Sequence[EventSource]:
    """What was asked for, opened. `WrongCall` says what is wrong with it."""
    from edc_pipeline.replay.daily_file import NotADailyFile  # noqa: PLC0415
    from edc_pipeline.replay.tick_file import TickFileMistake  # noqa: PLC0415

    try:
        if asked.synthetic:
            return [_synthetic(asked)]
        if asked.ticks:
            return [_tick_file(text) for text in asked.ticks]
        return _daily_files(asked)
    except (NotADailyFile, TickFileMistake) as mistake:
        raise WrongCall(str(mistake)) from None


def _synthetic(asked: Asked) -> EventSource:
    from edc_pipeline.replay.synthetic_day import SyntheticDay, many_instruments  # noqa: PLC0415
    from edc_pipeline.simulator.instruments import listing  # noqa: PLC0415

    try:
        listed = many_instruments(15) if asked.symbols is None else listing(asked.symbols)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    day = asked.day or dt.date(2026, 1, 22)
    return SyntheticDay(day, listed, asked.events, asked.seed)


def _tick_file(text: str) -> EventSource:
    from edc_pipeline.replay.tick_file import TickFile, read_mapping  # noqa: PLC0415

    file, colon, mapping = text.rpartition(":")
    if not colon:
        raise WrongCall(f"--ticks {text!r}: write FILE:MAPPING, as ibm.csv.gz:ibm.yaml")
    return TickFile(Path(file), read_mapping(Path(mapping)))


def _daily_files(asked: Asked) -> Sequence[EventSource]:
    from edc_pipeline.consolidation.names import daily_file  # noqa: PLC0415
    from edc_pipeline.replay.daily_file import DailyFile  # noqa: PLC0415

    if asked.day is None:
        raise WrongCall("which day? --day 2026-01-22")
    assert asked.daily is not None
    paths = [daily_file(asked.daily, event_type, asked.day) for event_type in EVENT_TYPES]
    found = [DailyFile(path) for path in paths if path.exists()]
    if not found:
        raise WrongCall(
            f"there is no daily file of {asked.day} in {asked.daily}; make it with edc consolidate,"
            " name another folder with --daily, or replay --spool, --ticks or --synthetic"
        )
    return found


def moment(text: str, day: dt.date | None, option: str) -> int:
    """`09:31`, `09:31:05.25` of the day in New York, or a time with its offset → ns."""
    try:
        if "T" not in text and day is not None:
            at = dt.datetime.combine(day, dt.time.fromisoformat(text), MARKET_ZONE)
        else:
            at = dt.datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise WrongCall(
            f"{option} {text!r} is no time; write 09:31 (New York, with --day) or"
            " 2026-01-22T09:31-05:00"
        )
    return int(at.timestamp()) * NS_PER_SECOND + at.microsecond * 1000


def bounds(
    day: dt.date | None, begin: str | None, end: str | None
) -> tuple[int | None, int | None]:
    """The instants between which to replay; None: no bound."""
    first, last = day_bounds(day) if day else (None, None)
    from_ns = first if begin is None else moment(begin, day, "--from")
    to_ns = last if end is None else moment(end, day, "--to")
    if from_ns is not None and to_ns is not None and from_ns >= to_ns:
        raise WrongCall(f"--from {begin} is not before --to {end}")
    return from_ns, to_ns


def symbols_asked(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    named = tuple(dict.fromkeys(s.strip().upper() for s in text.split(",") if s.strip()))
    if not named:
        raise WrongCall("--symbols: none given; name at least one, e.g. SPY or EUR/USD")
    return named
