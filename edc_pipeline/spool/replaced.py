"""Which micro-batches count no more: those that a compaction has put together into another.

A death between its writing and its removing leaves both. The one that was written counts, if it is
sound; damage may have come to it since, and then those that are left beside it hold what it held.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from edc_pipeline.spool.micro_batch import Footer, is_whole


def damaged_beside_theirs(footers: Mapping[Path, Footer]) -> set[Path]:
    """Compacted files that are damaged and beside which what they replace was left."""
    there = {path.name for path in footers}
    return {
        path
        for path, footer in footers.items()
        # Only then does it matter, and every byte of it has to be read.
        if not there.isdisjoint(footer.replaces) and _is_damaged(path)
    }


def replaced_in(footers: Mapping[Path, Footer], damaged: Collection[Path]) -> set[str]:
    """The names that count no more, where these are damaged beside what they replace."""
    return {
        name for path, footer in footers.items() if path not in damaged for name in footer.replaces
    }


def _is_damaged(path: Path) -> bool:
    try:
        return is_whole(path.read_bytes()) is False
    except FileNotFoundError:  # put together with others meanwhile
        return True
    except OSError:  # nobody knows: whoever reads its rows will say so
        return False
