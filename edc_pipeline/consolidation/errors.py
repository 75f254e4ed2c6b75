"""What can be wrong that a person can mend."""

from __future__ import annotations


class CannotConsolidate(Exception):
    """No daily file could be made. The message names the value and the remedy.

    `events_missing`: events that the ledger says were given out and no micro-batch holds. It is
    above zero where data is lost, and zero where there was never anything to consolidate.
    """

    def __init__(self, message: str, *, events_missing: int = 0) -> None:
        super().__init__(message)
        self.events_missing = events_missing
