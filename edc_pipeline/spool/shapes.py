"""What each feed's messages looked like so far: a small file, so that a restart does not forget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edc_pipeline.durable_file import write_durably
from edc_pipeline.spool.layout import SHAPES


def write_shapes(spool: Path, shapes: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(shapes)

    write_durably(spool / SHAPES, write)


def read_shapes(spool: Path) -> dict[str, Any]:
    """By feed; nothing where there is none or it can't be read: it is learned again."""
    try:
        shapes: dict[str, Any] = msgspec.json.decode((spool / SHAPES).read_bytes(), type=dict)
    except (OSError, msgspec.MsgspecError):
        return {}
    return shapes
