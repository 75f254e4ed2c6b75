"""Event Driven Connectivity: live market data in, one trusted file a day out.

import edc_pipeline

edc_pipeline.read("trade", "2026-01-22", symbols="SPY")
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edc_pipeline.consolidation.read_days import read as read


def __getattr__(name: str) -> Any:
    """`read` is loaded when it is first used: it brings pyarrow and h5py, half a second."""
    if name == "read":
        from edc_pipeline.consolidation.read_days import read  # noqa: PLC0415

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
