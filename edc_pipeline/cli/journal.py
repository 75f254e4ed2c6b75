"""`edc journal`: what was received, frame by frame, as it lies in the journal of the spool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edc_pipeline.cli import options
from edc_pipeline.cli.options import FallsShort, WrongCall
from edc_pipeline.spool.layout import DAMAGED

if TYPE_CHECKING:
    from edc_pipeline.capture.journal.reader import SegmentRead

_spool = click.option(
    "--spool", type=click.Path(path_type=Path, file_okay=False), help="Another spool."
)
_archive = click.option("--archive", is_flag=True, help="The raw archive's segments instead.")


@click.group(epilog="Example: edc journal list; edc journal cat SEGMENT.wal | head")
def journal() -> None:
    """List, show and check the journal's segments.

    A segment whose events are all in micro-batches is no longer among them: it went into the raw
    archive, _raw/day=… in the spool, for as long as `raw_archive` says. --archive shows that, and
    the damaged segments that were set aside in _raw/damaged; those stay until you remove them.
    """


@journal.command("list", epilog="Example: edc journal list --json")
@options.config
@_spool
@_archive
@options.as_json
def list_segments(config: Path | None, spool: Path | None, archive: bool, as_json: bool) -> int:
    """List the segments: whose, which frames, how large, whole or torn."""
    from edc_pipeline.cli import terminal  # noqa: PLC0415

    spool = spool or options.load_settings(config).spool
    reads = _segments(spool, archive=archive)
    if as_json:
        _json(map(_told, reads))
        return 0
    rows = [(_told(read), _state(read)) for read in reads]
    if not rows:
        where = "in the raw archive" if archive else ": all that was received is in micro-batches"
        click.echo(f"no segments {where}".replace(" :", ":"))
        return 0
    shown = terminal.table(
        "", "collector", "segment", "#first", "#last", "#frames", "#size", "state"
    )
    for row, state in rows:
        shown.add_row(
            row["collector"],
            row["segment"],
            *("–" if row[k] is None else f"{row[k]:,}" for k in ("first_frame", "last_frame")),
            f"{row['frames']:,}",
            terminal.size(row["bytes"]),
            state,
        )
    terminal.show(shown)
    return 0


@journal.command("verify", epilog="Example: edc journal verify; exit 1 if a segment is damaged.")
@options.config
@_spool
@_archive
@options.as_json
def verify_segments(config: Path | None, spool: Path | None, archive: bool, as_json: bool) -> int:
    """Check every block of every segment, and that no ordinal is missing between them.

    The last segment of a collector that runs, or was killed, may end in a commit that was never
    acknowledged; that is told and is no fault. Of damage it says in which bytes of which segment;
    what is behind it is read all the same.
    """
    told: list[dict[str, Any]] = []
    segments = frames = 0
    before: SegmentRead | None = None
    for read in _segments(spool or options.load_settings(config).spool, archive=archive):
        if before is not None:
            told += _found_in(before, read, archive=archive)
        segments, frames, before = segments + 1, frames + read.frame_count, read
    if before is not None:
        told += _found_in(before, None, archive=archive)
    if as_json:
        _json(told)
    else:
        for line in told:
            click.echo(f"{line['segment']}: {line['said']}")
        click.echo(f"{segments} segments, {frames:,} frames whole")
    return 1 if any(line["fault"] for line in told) else 0


def _found_in(
    read: SegmentRead, following: SegmentRead | None, *, archive: bool
) -> list[dict[str, Any]]:
    aside = DAMAGED in (read.path.parent.name, following and following.path.parent.name)
    if aside or (following is not None and _collector(following) != _collector(read)):
        following = None
    name = f"{read.path.parent.name}/{read.path.name}"
    said = [(str(d), d.first_byte, True) for d in read.damages]
    if read.torn:
        said.append((read.torn, read.whole_bytes, archive or following is not None))
    if following is not None and None not in (read.last_frame, following.first_frame):
        last, first = read.last_frame or 0, following.first_frame or 0
        # They go into the archive in their order: one that is there still had all behind it.
        if first != last + 1 and read.path.exists():
            said.append((f"after frame {last} comes {first}", read.whole_bytes, True))
    return [{"segment": name, "said": s, "offset": at, "fault": fault} for s, at, fault in said]


@journal.command("cat", epilog="Example: edc journal cat SEGMENT.wal | edc decode --vendor tiingo")
@click.argument("segment", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.as_json
def cat(segment: Path, as_json: bool) -> int:
    """Print a segment's frames, one a line as sent (base64 for binary).

    With --json each line also tells the ordinal, the connection and the receive time.
    """
    import base64  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from edc_pipeline.capture.journal.reader import read_segment  # noqa: PLC0415

    read = read_segment(segment)
    for block in read.frames:
        rows = zip(block.received_at, block.lines, block.payloads, strict=True)
        for frame, (received_at, number, payload) in enumerate(rows, block.first_frame):
            text = _as_line(payload)
            shown = text if text is not None else base64.b64encode(payload).decode()
            if not as_json:
                click.echo(shown)
                continue
            line = read.lines[number]
            told = {
                "frame": frame,
                "connection": line.connection,
                "received_at": received_at,
                "payload": shown,
                "encoding": "text" if text is not None else "base64",
            }
            click.echo(msgspec.json.encode(told))
    if read.damages:
        raise FallsShort(f"{segment.name} is {'; '.join(map(str, read.damages))}")
    if read.torn:
        raise FallsShort(f"{segment.name} is torn: {read.torn}")
    return 0


def _as_line(payload: bytes) -> str | None:
    """The frame as one line of text; None where it is not text or more than a line."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _segments(spool: Path, *, archive: bool) -> Iterator[SegmentRead]:
    from edc_pipeline.capture.journal.archive import read_archive, read_set_aside  # noqa: PLC0415
    from edc_pipeline.capture.journal.reader import read_collector  # noqa: PLC0415
    from edc_pipeline.spool.layout import journal_collectors, journal_folder  # noqa: PLC0415

    if not spool.is_dir():
        raise WrongCall(f"there is no spool at {spool}")
    if archive:
        yield from read_archive(spool)
        yield from read_set_aside(spool)
        return
    for collector in journal_collectors(spool):
        yield from read_collector(journal_folder(spool, collector), of_another=True)


def _collector(read: SegmentRead) -> str:
    from edc_pipeline.spool.layout import collector_of_segment  # noqa: PLC0415

    return collector_of_segment(read.path)


def _state(read: SegmentRead) -> str:
    return "; ".join((*map(str, read.damages), *filter(None, [read.torn]))) or "whole"


def _told(read: SegmentRead) -> dict[str, Any]:
    return {
        "collector": _collector(read),
        "segment": read.path.name,
        "path": str(read.path),
        "first_frame": read.first_frame,
        "last_frame": read.last_frame,
        "frames": read.frame_count,
        "bytes": read.whole_bytes,
        "torn": read.torn,
        "damaged": [str(damage) for damage in read.damages],
    }


def _json(rows: Any) -> None:
    import msgspec  # noqa: PLC0415

    for row in rows:
        click.echo(msgspec.json.encode(row))
