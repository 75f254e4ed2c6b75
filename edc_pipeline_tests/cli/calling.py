"""Calling `edc` as a person does: a process, its exit code, its words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Said(NamedTuple):
    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """The machine's, without settings that a developer may have exported."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EDC_")}
    root = str(Path(__file__).parents[2])
    return {**clean, "PYTHONPATH": root, "NO_COLOR": "1", "COLUMNS": "200", **more}


def edc(*words: str | Path, cwd: Path, stdin: bytes = b"", **environ: str) -> Said:
    done = subprocess.run(
        [sys.executable, "-m", "edc_pipeline", *map(str, words)],
        cwd=cwd,
        input=stdin,
        env=environment(**environ),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def start(*words: str | Path, cwd: Path, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edc_pipeline", *map(str, words)],
        cwd=cwd,
        env=environment(**environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
