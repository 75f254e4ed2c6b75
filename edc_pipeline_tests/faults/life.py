"""A collector as `edc capture` runs it, that marks its frames and tries again at once.

    python -m edc_pipeline_tests.faults.life MARKS capture --config feeds.yaml

Tries follow each other at once, and so does the status: a campaign has little time.
Beside that it is `edc`: the same words, exit codes and log.
"""

from __future__ import annotations

import sys
from pathlib import Path

from edc_pipeline.capture import flusher, spent
from edc_pipeline.capture import run as capture_run
from edc_pipeline.capture.journal import writer
from edc_pipeline.cli import main
from edc_pipeline_tests.crash.campaign import mark_frames

_SOON_S = 0.05


def hurry() -> None:
    for module, name in (
        (flusher, "_RETRY_DISK_S"),
        (flusher, "_LOOK_EVERY_S"),
        (spent, "_RETRY_DISK_S"),
        (writer, "_RETRY_S"),
        (capture_run, "_STATUS_EVERY_S"),
        (capture_run, "_RETRY_DISK_S"),
    ):
        assert hasattr(module, name)
        setattr(module, name, _SOON_S)


if __name__ == "__main__":
    mark_frames(Path(sys.argv[1]))
    hurry()
    main(sys.argv[2:])
