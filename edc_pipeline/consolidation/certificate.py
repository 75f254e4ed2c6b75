"""What a daily file says of itself: where its rows came from, and whether the numbers add up.

The JSON lies in the dataset `/certificate` (bytes; any HDF5 reader shows it) and, without its
long lists, in the attribute `certificate` of the table's group, with the SHA-256 of the whole in
`certificate_sha256`. It is not an attribute altogether because HDF5 holds at most 64 kB in one,
and a day of one-minute micro-batches, each with its hash, takes four times that.
It holds no clock: the same inputs give the same certificate, but for the state of the day, which
goes from provisional to sealed when its time has come.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from edc_pipeline.consolidation.checksums import hdf5_of, opened
from edc_pipeline.consolidation.errors import DamagedFile
from edc_pipeline.consolidation.names import CERTIFICATE, Codec, Order, says_to_hold
from edc_pipeline.consolidation.same_files import of_same_files
from edc_pipeline.consolidation.seal import broken_seal
from edc_pipeline.events import EventType

CERTIFICATE_VERSION: Final = 2  # 1: another content hash, no `order`
_LISTS: Final = ("inputs", "set_aside", "gaps", "frames", "events_out")


class NoCertificate(Exception):
    """The file is no daily file of ours, or is damaged; the message says how it shows."""


class Duplicates(msgspec.Struct, kw_only=True, frozen=True):
    """Rows left out, by cause."""

    redelivered: int = 0  # the same physical row: a journal recovery, a micro-batch copied
    other_connection: int = 0  # no id: another connection delivered that copy first
    same_id: int = 0  # the vendor's id and all content are those of a row that stays

    @property
    def total(self) -> int:
        return self.redelivered + self.other_connection + self.same_id

    def __add__(self, other: Duplicates) -> Duplicates:
        return Duplicates(
            redelivered=self.redelivered + other.redelivered,
            other_connection=self.other_connection + other.other_connection,
            same_id=self.same_id + other.same_id,
        )


class FeedCounts(msgspec.Struct, kw_only=True, frozen=True):
    """One vendor's product in one daily file. rows_in = rows + duplicates."""

    identity: str  # the rule applied: "id", "content" or "counted"
    rows_in: int
    rows: int
    duplicates: Duplicates
    near_duplicates: int = 0  # rows kept whose id an earlier row has with other content


# Thousands of a kind, of plain values: `gc=False`, or decoding them sets off collections of garbage
# that look at all that the process holds.
class Input(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    name: str
    rows: int
    bytes: int
    sha256: str


class SetAside(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """A file among the micro-batches that could not be read. It stays where it is."""

    name: str
    reason: str
    rows: int | None = None  # where its footer could still be read
    bytes: int | None = None
    sha256: str = ""


class GapEntry(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    name: str
    vendor: str
    feed: str
    symbol: str
    from_ns: int
    to_ns: int | None
    size: int | None
    state: str
    reason: str


class EventsOut(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """Events that a feed's collectors say they gave out for this day and type."""

    name: str
    vendor: str
    feed: str
    events: int


class Frames(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """Frames that a feed received on this day (of receipt), all event types together."""

    name: str
    vendor: str
    feed: str
    received: int
    with_events: int
    control: int
    quarantined: int


class StateOfDay(msgspec.Struct, kw_only=True, frozen=True):
    """How far the day may be relied on; the rule stands in `day_state`."""

    state: Literal["provisional", "sealed", "restated"] = "provisional"
    why: str = ""  # it is not sealed, or what the restatement changed


class Certificate(msgspec.Struct, kw_only=True, frozen=True):
    certificate_version: int = CERTIFICATE_VERSION
    schema_version: int
    code_version: str
    event_type: EventType
    day: str
    codec: Codec
    order: Order = "time"
    rows_in: int
    rows: int
    duplicates: Duplicates
    near_duplicates: int  # the dataset `/near_duplicates` lists their rows
    content_hash: str
    symbols: int
    first_event: int | None  # ts_event, ns UTC; None for a day without rows
    last_event: int | None
    feeds: dict[str, FeedCounts]  # "tiingo/iex" → its numbers
    balanced: bool
    reasons: list[str]  # why not, in words
    state: StateOfDay = StateOfDay()
    events_out: list[EventsOut]
    frames: list[Frames]
    gaps: list[GapEntry]
    set_aside: list[SetAside]
    inputs: list[Input]


def encode(certificate: Certificate) -> bytes:
    return msgspec.json.encode(certificate)


def head(encoded: bytes) -> bytes:
    """The certificate without its long lists, each replaced by its length.

    Of what was written, not of what this code understands: a file made before a field was added
    has to agree with itself.
    """
    fields: dict[str, Any] = msgspec.json.decode(encoded)
    for name in _LISTS:
        fields[name] = len(fields[name])
    return msgspec.json.encode(fields)


def read_certificate(path: Path, *, thoroughly: bool = True) -> Certificate:
    """What the file says of itself; `NoCertificate` when it does not, or not credibly, or when it
    is of another day or event type than its name says: everybody asks for a day by that name.

    Looks at every byte, since HDF5 may crash on a damaged file, and at no row: whether those are
    what the certificate says is for `verify` to find out. Not thoroughly: only whether it is whole,
    and at the bytes that are no chunk.
    """
    return of_same_files(lambda: _read_certificate(path, thoroughly=thoroughly), path)


def _read_certificate(path: Path, *, thoroughly: bool) -> Certificate:
    broken = broken_seal(path, thoroughly=thoroughly)
    if broken:
        raise NoCertificate(f"{path.name}: {broken}")
    try:
        with opened(path) as (descriptor, _), hdf5_of(descriptor) as file:
            certificate = certificate_in(file, path.name, thoroughly=thoroughly)
    except DamagedFile as error:
        raise NoCertificate(str(error)) from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise NoCertificate(f"{path.name}: not a readable HDF5 file ({_one_line(error)})") from None
    if other := misnamed(path, certificate):
        raise NoCertificate(f"{path.name}: {other}")
    return certificate


def misnamed(path: Path, certificate: Certificate) -> str:
    """What a file is that has the name of another; empty where the name is right, or none of ours.

    A copy under another day's name is whole, sealed and balanced: nothing but this tells.
    """
    says = says_to_hold(path)
    if says is None or (says[0], says[1].isoformat()) == (certificate.event_type, certificate.day):
        return ""
    return (
        f"its name says {says[0]} of {says[1]}, its certificate {certificate.event_type}"
        f" of {certificate.day}: it is another file under this name"
    )


def certificate_in(file: Any, name: str, *, thoroughly: bool = True) -> Certificate:
    """Not thoroughly: without a look at the attribute that repeats it, for who reads only it."""
    if CERTIFICATE not in file:
        raise NoCertificate(f"{name}: no certificate in it; it is no daily file of edc_pipeline")
    encoded = bytes(file[CERTIFICATE][()])
    try:
        certificate = msgspec.json.decode(encoded, type=Certificate)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoCertificate(f"{name}: its certificate is damaged ({error})") from None
    if certificate.event_type not in file:
        raise NoCertificate(f"{name}: no {certificate.event_type!r} table in it")
    attributes = file[certificate.event_type].attrs
    if _text(attributes.get("certificate_sha256")) != hashlib.sha256(encoded).hexdigest():
        raise NoCertificate(f"{name}: its certificate is not the one that was written")
    if thoroughly and _text(attributes.get("certificate")) != head(encoded).decode():
        raise NoCertificate(f"{name}: the attribute `certificate` disagrees with the certificate")
    return certificate


def _text(attribute: Any) -> Any:
    """PyTables writes ASCII text as bytes and other text as str, in h5py's eyes."""
    return attribute.decode() if isinstance(attribute, bytes) else attribute


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
