"""What others wrote, made fit for a log and a terminal: the one place that does it.

A vendor's words and whatever stands in a file may hold line breaks (a forged line of the log),
escape sequences (which a terminal obeys) and marks that turn the direction of writing. They are
shown as Python writes them: `\\n`, `\\x1b`, `\\u202e`.
"""

from __future__ import annotations

import logging
from types import TracebackType

LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def printable(words: str) -> str:
    if words.isprintable():
        return words
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in words
    )


class PrintableFormatter(logging.Formatter):
    """A record is one line; a traceback behind it is indented, so that none of its lines looks like
    a record."""

    def __init__(self) -> None:
        super().__init__(LOG_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as logging names it
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(  # noqa: N802 - as logging names it
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - as logging names it
        return _indented(super().formatStack(stack_info))


def _indented(lines: str) -> str:
    return "\n".join(f"    {printable(line)}" for line in lines.split("\n"))
