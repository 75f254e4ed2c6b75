"""What can be wrong that a person can mend."""

from __future__ import annotations


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


class RowsMissing(UserWarning):
    """A day was read without some of its micro-batches, which could not be; the message says which
    and why. They stand in `.attrs["days"]` as well."""
