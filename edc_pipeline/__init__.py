"""Event Driven Connectivity: live market data in, one trusted file a day out.

import edc_pipeline

edc_pipeline.read("trade", "2026-01-22", symbols="SPY")
"""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`read` is loaded when it is first used: it brings pyarrow and h5py, half a second. By its
    name, since every room imports this package for its version, and none may import that one."""
    if name == "read":
        return importlib.import_module("edc_pipeline.consolidation.read_days").read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
