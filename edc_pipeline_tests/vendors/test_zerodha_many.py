"""Kite's packets of any lengths and modes: read together they are what they are one by one."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.rows import rows_of
from edc_pipeline.market_day import NS_PER_SECOND, market_day
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import ChangesInPlace, Columns, Subscription, both
from edc_pipeline_tests.dice import examples
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT
from edc_pipeline_tests.vendors.test_reading_many import agree

NOON_S = 1_769_101_200
DAY_S = 86_400
RECEIVED_S = RECEIVED_AT // NS_PER_SECOND
LENGTHS = (8, 28, 32, 44, 164, 184)
TIME_AT = {32: 28, 184: 60}
SHARE, BOND_OF_CDS, INDEX = 408065, 1106179, 256265
TOKENS = {"INFY": SHARE, "USD/INR": BOND_OF_CDS, "NIFTY 50": INDEX}
ASKED = (
    Subscription("ticker"),
    Subscription("ticker", (), {"tokens": TOKENS}),
    Subscription("ticker", ("INFY",), {"tokens": TOKENS}, {"INFY": "etf"}),
)


def packet(length: int, token: int, numbers: Sequence[int], time: int) -> bytes:
    """`numbers` fill it, as far as they go; what is left is 0."""
    words = struct.pack(f">I{len(numbers)}i", token, *numbers)[:length].ljust(length, b"\0")
    at = TIME_AT.get(length)
    return words if at is None else words[:at] + struct.pack(">I", time) + words[at + 4 :]


def framed(packets: Sequence[bytes], count: int | None = None) -> bytes:
    parts = [struct.pack(">H", len(packets) if count is None else count)]
    for one in packets:
        parts += (struct.pack(">H", len(one)), one)
    return b"".join(parts)


def together(frames: Sequence[bytes], asked: Subscription = ASKED[1]) -> bool:
    return agree("zerodha", asked, frames)


_NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 100, 2**31 - 1, -(2**31)]), st.integers(-(2**31), 2**31 - 1)
)
_TOKENS = st.one_of(
    st.sampled_from([*TOKENS.values(), 1 << 8 | 9]),
    st.builds(lambda number, segment: number << 8 | segment, st.integers(0, 9), st.integers(0, 11)),
)


@st.composite
def _reads(draw: st.DrawFn) -> list[bytes]:
    """Frames of one to three lengths, with and without times, of some days."""
    lengths = st.sampled_from(draw(st.lists(st.sampled_from(LENGTHS), min_size=1, max_size=3)))
    times = st.sampled_from(
        draw(
            st.sampled_from(
                [[NOON_S, NOON_S + 1], [0], [0, NOON_S], [0, NOON_S, NOON_S - DAY_S, 86_400]]
            )
        )
    )
    tokens = st.sampled_from(draw(st.lists(_TOKENS, min_size=1, max_size=4)))
    numbers = st.lists(_NUMBERS, max_size=45) | st.just([10_000 + n for n in range(45)])
    packets = st.lists(st.builds(packet, lengths, tokens, numbers, times), max_size=5)
    frames = draw(st.lists(st.builds(framed, packets), min_size=1, max_size=5))
    match draw(st.integers(0, 7)):
        case 0:  # damaged
            which = draw(st.integers(0, len(frames) - 1))
            frame = bytearray(frames[which])
            at = draw(st.integers(0, len(frame) - 1))
            frame[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
            frames[which] = bytes(frame)
        case 1:
            other = draw(st.sampled_from([b"", b"\0", b"{}", b"\0\0", b'{"type":"message"}']))
            frames.insert(draw(st.integers(0, len(frames))), other)
        case 2:
            frames.append(framed(draw(packets), draw(st.integers(0, 9))))
    return frames


@given(_reads(), st.sampled_from(ASKED))
@settings(max_examples=examples(500), deadline=None)
def test_any_packets_are_read_alike(frames: list[bytes], asked: Subscription) -> None:
    together(frames, asked)


FULL = [10_000 + n for n in range(45)]


@pytest.mark.parametrize("asked", ASKED, ids=["unnamed", "named", "one named, of its class"])
def test_what_a_mode_sends_is_read_together(asked: Subscription) -> None:
    share, other = (packet(184, token, FULL, NOON_S) for token in (SHARE, BOND_OF_CDS))
    index = packet(32, INDEX, FULL, NOON_S)
    assert together([framed([share])], asked)
    assert together([framed([share, index, other, share]), framed([index])], asked)
    of_quote = [packet(44, SHARE, FULL, 0), packet(28, INDEX, FULL, 0)]
    assert together([framed(of_quote), framed(of_quote[::-1] * 3)], asked)
    ltp = [packet(8, token, FULL, 0) for token in TOKENS.values()]
    assert together([framed(ltp)] * 4, asked)


def test_a_packet_without_prices_beside_others_is_plain() -> None:
    """As of what was not traded today: it has no time either."""
    share, nothing = packet(184, SHARE, FULL, NOON_S), packet(184, BOND_OF_CDS, [], 0)
    assert together([framed([nothing, share]), framed([share, nothing])])
    assert not together([framed([share]), framed([nothing])])


def test_packets_with_and_without_a_time_are_plain() -> None:
    """Of what was not traded yet today, of an index by its short packet, and of two modes."""
    share, untimed = packet(184, SHARE, FULL, NOON_S), packet(184, BOND_OF_CDS, FULL, 0)
    index, ltp = packet(28, INDEX, FULL, 0), packet(8, SHARE, FULL, 0)
    assert together([framed([untimed, share, index, share]), framed([ltp]), framed([share])])
    # Copies in one frame are numbered, and ours are none of the vendor's.
    at_receipt = packet(184, SHARE, FULL, RECEIVED_S)
    assert together([framed([packet(184, SHARE, FULL, 0), at_receipt] * 3)])


def test_packets_of_several_days_are_admitted_by_day() -> None:
    """At its beginning a connection hears of each instrument as of its latest trade."""
    days = [RECEIVED_S, RECEIVED_S - DAY_S, 0, RECEIVED_S - 3 * DAY_S, RECEIVED_S - 7 * DAY_S]
    packets = [packet(184, SHARE, FULL, at) for at in days] * 2
    frames = [framed(packets), framed(packets[1:3]), framed(packets[:1])]
    assert together(frames)
    admitted = admit(frames, horizon_days=7)
    assert admitted is not None
    found = [(c.event_type, market_day(int(c.numbers["ts_event"][0]))) for c in admitted]
    by_type = Counter(event_type for event_type, _ in found)
    assert by_type == {"quote": 4, "ref_px": 4}
    assert len(set(found)) == 8
    # The second of each frame that says the same is a copy.
    copies = [c.numbers["occurrence"].tolist() for c in admitted if c.event_type == "quote"]
    assert sorted(map(sum, copies)) == [1, 1, 1, 2]  # two of the packets are of today


def test_what_is_beyond_the_horizon_or_of_too_many_days_is_read_one_by_one() -> None:
    old = [packet(184, SHARE, FULL, at) for at in (RECEIVED_S, RECEIVED_S - 9 * DAY_S)]
    assert admit([framed(old)], horizon_days=7) is None
    assert admit([framed(old)], horizon_days=None) is not None
    many = [packet(184, SHARE, FULL, NOON_S - n * DAY_S) for n in range(17)]
    assert admit([framed(many[:16])], horizon_days=None) is not None
    assert admit([framed(many)], horizon_days=None) is None


def admit(frames: Sequence[bytes], horizon_days: int | None) -> list[Columns] | None:
    read_many = VENDORS["zerodha"].reader_of_many(ASKED[1])
    assert read_many is not None
    found = read_many(frames, RECEIVED_AT)
    assert found is not None
    return Admission(horizon_days).admit_many(found, RECEIVED_AT)


def test_one_side_and_negative_prices_are_plain() -> None:
    numbers = [*FULL]
    numbers[16], numbers[31] = 0, -500  # the best bid's price and the best ask's
    assert together([framed([packet(184, SHARE, numbers, NOON_S)])])


def test_lengths_that_only_add_up_like_one_are_left_to_be_read_one_by_one() -> None:
    """4 × 8 + 5 × 44 = 9 × 28: the frame is as long as ten packets of an index, and read as such it
    would even have prices of known segments."""
    lengths = [28, 8, *[44] * 5, *[8] * 3]
    frame = framed([b"\1" * length for length in lengths])
    assert len(frame) == 2 + 10 * (2 + 28)
    assert not together([frame])
    assert len(VENDORS["zerodha"].decoder(ASKED[0])(frame, RECEIVED_AT).events) == 6 * 5 + 4


def test_so_many_packets_that_the_frame_begins_as_text_does_are_read_as_one_by_one() -> None:
    frame = framed([packet(8, SHARE, FULL, 0)] * 0x7B00)
    assert frame.startswith(b"{")
    assert not together([frame])
    assert together([framed([packet(8, SHARE, FULL, 0)] * 0x7AFF)])


PLAIN = packet(184, SHARE, FULL, NOON_S)


@pytest.mark.parametrize(
    "frame",
    [
        b"\0",
        b"",
        b"\0\0",
        b'{"type":"message","data":"x"}',
        framed([PLAIN, b"\0\0\0\1" * 3]),
        framed([packet(184, 7 << 8 | 11, FULL, NOON_S)]),
        framed([packet(184, SHARE, [], NOON_S)]),
        framed([PLAIN], 2),
        framed([PLAIN]) + b"\0",
        framed([PLAIN, packet(32, INDEX, FULL, NOON_S)])[:-1],
    ],
)
def test_a_frame_that_is_not_plain_leaves_the_read_to_be_read_one_by_one(frame: bytes) -> None:
    plain = framed([PLAIN])
    assert together([plain])
    assert not together([plain, frame])
    assert not together([frame, plain])


def test_under_way_while_other_symbols_are_asked_for() -> None:
    """Of INFY, which is wanted no more, and whose token stands nowhere any more."""
    was = Subscription("ticker", ("INFY", "NIFTY 50"), {"tokens": TOKENS}, {"INFY": "etf"})
    now = Subscription("ticker", ("NIFTY 50",), {"tokens": {"NIFTY 50": INDEX}})
    session = VENDORS["zerodha"].open_session(was, "")
    assert isinstance(session, ChangesInPlace)
    assert session.change(now)
    read_many = VENDORS["zerodha"].reader_of_many(both(was, now))
    assert read_many is not None
    frame = framed([packet(8, SHARE, [100], 0), packet(8, INDEX, [200], 0)])
    found = read_many([frame], RECEIVED_AT)
    assert found is not None
    one_by_one = session.read(frame, RECEIVED_AT).events
    assert str(rows_of(found[0], RECEIVED_AT).events()) == str(one_by_one)
    told = {(event.symbol, event.asset_class) for event in one_by_one}
    assert told == {("INFY", "etf"), ("NIFTY 50", "index")}
