"""The daily file that stands: what it says, and whether making it again would change that."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from edc_pipeline import __version__
from edc_pipeline.consolidation.certificate import (
    Certificate,
    NoCertificate,
    read_certificate,
)
from edc_pipeline.consolidation.h5_read import hash_as_now
from edc_pipeline.consolidation.plan import is_what_was_read, read_ledger
from edc_pipeline.consolidation.wish import Wish


def certificate_of(path: Path) -> tuple[Certificate | None, str]:
    """The certificate of the file that stands, if that is still as it was written; why it is not
    believed, empty where there is none."""
    try:
        return read_certificate(path), ""
    except NoCertificate as error:
        return None, str(error) if path.exists() else ""


def as_now(standing: Certificate, path: Path) -> Certificate:
    """With the hash that the file would have today, so that a new way of hashing is no change."""
    if standing.certificate_version > 1:
        return standing
    now = hash_as_now(path, standing.event_type)
    return standing if now is None else msgspec.structs.replace(standing, content_hash=now)


def is_made_of_this(standing: Certificate, spool: Path, wish: Wish) -> bool:
    """Whether the standing file was made by this code from exactly this: no row need be read."""
    if not is_made_so(standing, wish):
        return False
    day = dt.date.fromisoformat(standing.day)
    ledger = read_ledger(spool, standing.event_type, day)
    return (
        standing.events_out == ledger.events_out
        and standing.frames == ledger.frames
        and standing.gaps == ledger.gaps
        and ledger.fault is None
        and is_what_was_read(standing, spool)
    )


def is_made_so(standing: Certificate, wish: Wish) -> bool:
    """Whether the standing file was made by this code in this way, of whatever."""
    known = {
        f"{vendor}/{feed}": rule.kind
        for (vendor, feed, of_type), rule in wish.rules.items()
        if of_type == standing.event_type
    }
    made_so = (standing.code_version, standing.codec, standing.order)
    return made_so == (__version__, wish.codec, wish.order) and all(
        known.get(feed, "counted") == n.identity for feed, n in standing.feeds.items()
    )


def says_the_same(standing: Certificate, new: Certificate) -> bool:
    """Newer code that comes to the same result is no reason to touch a file."""
    return msgspec.structs.replace(standing, code_version=new.code_version) == new
