"""A spool that holds a replay says so, and nothing live is ever added to it, nor the reverse."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from edc_pipeline.durable_file import write_durably
from edc_pipeline.spool.layout import is_spool

MARK: Final = "_replay.json"


class Replayed(msgspec.Struct, kw_only=True, frozen=True):
    """What was replayed into this spool."""

    source: str
    what: str  # frames, events, synthetic
    at: int  # ns
    day: str = ""
    left_out: str = ""  # what was not asked for: other symbols, other times


class SpoolIsLive(Exception):
    """A spool that capture fills, or an earlier replay did: a replay wants one of its own."""


def mark_replay(spool: Path, replayed: Replayed) -> None:
    """Claim an empty place for a replay. `SpoolIsLive` where something is there."""
    if replayed_into(spool) is not None or is_spool(spool):
        what = "an earlier replay" if replayed_into(spool) else "what a live capture received"
        raise SpoolIsLive(
            f"{spool} holds {what}; a replay goes into a spool of its own: name another folder"
        )
    spool.mkdir(parents=True, exist_ok=True)
    said = msgspec.json.encode(replayed)

    def write(to: Path) -> None:
        to.write_bytes(said)

    write_durably(spool / MARK, write)


def replayed_into(spool: Path) -> Replayed | None:
    """What was replayed into a spool; None for a live one."""
    try:
        return msgspec.json.decode((spool / MARK).read_bytes(), type=Replayed)
    except FileNotFoundError:
        return None


class SpoolIsReplay(Exception):
    """A spool that a replay filled: nothing live goes into it."""


def refuse_replay(spool: Path) -> None:
    """For whoever is about to capture into a spool."""
    if (said := replayed_into(spool)) is not None:
        raise SpoolIsReplay(
            f"{spool} holds a replay of {said.source}; nothing live goes into it: set another"
            " data_dir, or remove that folder"
        )
