"""The collector's own word on how it is, a small file that it replaces every few seconds.

Not durable and not a record: the ledger is. It is what `edc status` and the Dagster sensor read
without asking the process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edc_pipeline.durable_file import write_whole
from edc_pipeline.spool.layout import STATUS


def write_status(spool: Path, report: msgspec.Struct) -> None:
    write_whole(spool / STATUS, msgspec.json.encode(report))


def read_status(spool: Path) -> dict[str, Any] | None:
    """What the last collector wrote last; None where there was none or it can't be read."""
    try:
        status: dict[str, Any] = msgspec.json.decode((spool / STATUS).read_bytes(), type=dict)
    except (OSError, msgspec.MsgspecError):
        return None
    return status
