"""Recorded frames that lie beside the project, where they are there; never part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

_FRAMES = Path(__file__).parents[3] / "shared" / "corpus" / "frames"


def recording(name: str) -> Path:
    """Where it is; skips where it is absent."""
    path = _FRAMES / name
    if not path.exists():
        pytest.skip(f"no recording at {path}")
    return path


def recorded(name: str) -> list[bytes]:
    """The lines of a recording."""
    return recording(name).read_bytes().splitlines()
