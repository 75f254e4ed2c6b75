"""How a daily file is to be made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.identity import Rules
from edc_pipeline.consolidation.names import Codec, Order

MEMORY: Final = "1GiB"
LEAST_MEMORY: Final = 512 << 20
_BINARY: Final = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_UNITS: Final = {**_BINARY, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Wish:
    rules: Rules
    codec: Codec
    order: Order
    memory: int
    versions: int


def bytes_of(memory: int | str) -> int:
    """`"1GiB"` → 1,073,741,824; at least 512 MiB, which the libraries and a slice need."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MGT]i?B)", str(memory))
    size = memory if isinstance(memory, int) else 0
    if found:
        size = int(float(found[1]) * _UNITS[found[2]])
    if size < LEAST_MEMORY:
        raise CannotConsolidate(
            f"memory: {memory!r} is no size of at least 512MiB; write it as 1GiB or 1500MB"
        )
    return size
