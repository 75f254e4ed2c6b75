"""What can be wrong that a person can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edc_pipeline.consolidation.names import parse_daily_file


class CannotConsolidate(Exception):
    """No daily file could be made. The message names the value and the remedy.

    `nothing_there`: there are no micro-batches, and by the ledger there should be none.
    `events_missing`: events that the ledger says were given out and that cannot be read.
    """

    def __init__(
        self, message: str, *, nothing_there: bool = False, events_missing: int = 0
    ) -> None:
        super().__init__(message)
        self.nothing_there = nothing_there
        self.events_missing = events_missing


class NoSuchData(ValueError):
    """What was asked for is not there, or is no such thing; the message says what there is."""


class Moved(NoSuchData):
    """What was to be read is not there any more: a new file took its name, or the micro-batches
    were retired. Read again, the day is there."""


class DamagedFile(NoSuchData):
    """A daily file is not as it was written. The message says which, where, and what to do."""

    def __init__(self, path: Path, where: str, what: str = "not what was written") -> None:
        named = parse_daily_file(path)
        of_day = f" --day {named[1]} --type {named[0]}" if named else ""
        super().__init__(
            f"{path} is damaged: {where}: {what}. `edc verify {path}` tells more;"
            f" `edc consolidate --spool … --out {path.parent}{of_day}` makes it anew, or bring it"
            f" back from a copy or from {path.parent / 'versions'}"
        )


@contextmanager
def told_clearly(path: Path) -> Iterator[None]:
    """Whatever libraries raise of a daily file that is damaged, as what it is. Of a file with
    checksums they see nothing that is; of one without they may say nearly anything."""
    try:
        yield
    except (NoSuchData, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise NoSuchData(f"{path} cannot be read: {error.strerror}") from error
        said = " ".join(str(error).split())[:200]
        raise DamagedFile(path, "it cannot be read", said or type(error).__name__) from error


class RowsMissing(UserWarning):
    """A day was read without some of its micro-batches, which could not be; the message says which
    and why. They stand in `.attrs["days"]` as well."""
