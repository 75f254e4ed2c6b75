"""From memory to the spool: micro-batches, quarantine, then the ledger, in this order.

Runs in a thread. Every file name follows from the frames that it holds, so a flush that failed
half-way is simply done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.queues import Waiting
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import write_micro_batch
from edc_pipeline.spool.quarantine import QuarantinedFrame, write_quarantine

# Quarantined frames wait with their bytes; past this they are flushed early (as many as a flood of
# rubbish at 100 MB/s brings between two looks).
FLUSH_BYTES: Final = 32 << 20


def is_enough(waiting: Waiting, flush_rows: int) -> bool:
    """Whether it is to be flushed before its time: by a collector, and by recovery after one."""
    return waiting.row_count >= flush_rows or waiting.byte_count >= FLUSH_BYTES


def flush(
    spool: Path, collector: str, waiting: Waiting, at: int, lines: Iterable[Line] = ()
) -> list[Path]:
    """Write all that waits; returns the micro-batches. Raises OSError when the disk won't.

    `lines` are the collector's connections: a quarantined frame keeps what it takes to read it.
    """
    written = []
    for (event_type, day), table in waiting.tables().items():
        path, _ = write_micro_batch(
            spool,
            event_type=event_type,
            day=day,
            collector=collector,
            first_frame=waiting.first_frame,
            last_frame=waiting.last_frame,
            table=table,
        )
        written.append(path)
    for day, frames in waiting.quarantine.items():
        write_quarantine(
            spool,
            day=day,
            collector=collector,
            first_frame=waiting.first_frame,
            last_frame=waiting.last_frame,
            frames=frames,
            lines=lines_of(frames, lines),
        )
    Ledger(spool).flushed(
        collector,
        through_frame=waiting.last_frame,
        at=at,
        frames=waiting.frame_counts,
        events=waiting.event_counts,
        gaps=waiting.gaps,
    )
    return written


def lines_of(frames: Sequence[QuarantinedFrame], lines: Iterable[Line]) -> list[Line]:
    """The connections that delivered these frames."""
    wanted = {frame.connection for frame in frames}
    return [line for line in lines if line.connection in wanted]
