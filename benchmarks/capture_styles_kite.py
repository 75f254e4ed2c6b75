"""How Kite speaks, for the benchmark of capture: binary frames of ten packets each.

Read as one would read them plainly: each packet by `struct`, its best bid and ask alone of the
five, a dict for each event that it gives.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from capture_frames import SYMBOLS

# Of the NSE: the lowest byte is the segment.
TOKENS = {symbol: number << 8 | 1 for number, symbol in enumerate(SYMBOLS, 1000)}
PACKETS = 10
FULL_EVENTS = 6 * PACKETS  # a quote, the last price, four prices of the day
LTP_EVENTS = PACKETS

_SYMBOL_OF = {token: symbol for symbol, token in TOKENS.items()}
_LENGTH = struct.Struct(">H")
_LTP = struct.Struct(">Ii")
# Token, last, its size, average, volume, bought, sold; open, high, low, close; time of the last
# trade, three of open interest, the exchange's time.
_FULL = struct.Struct(">IiIiIII4i5I")
_LEVEL = struct.Struct(">IiHxx")
_ASKS_AT = _FULL.size + 5 * _LEVEL.size


def _paise(number: int) -> int:
    return 10_000 + number * 37 % 1000


def _framed(packets: list[bytes]) -> bytes:
    parts = [_LENGTH.pack(len(packets))]
    for packet in packets:
        parts += (_LENGTH.pack(len(packet)), packet)
    return b"".join(parts)


def _full(number: int, ns: int) -> bytes:
    last, second = _paise(number), ns // 10**9
    said = [last, 1 + number % 300, last - 5, 7_360_198 + number, 5_000_123, 4_000_321]
    day = [last - 70, last + 110, last - 190, last - 60]
    head = _FULL.pack(TOKENS[SYMBOLS[number % 100]], *said, *day, second, 0, 0, 0, second)
    bids = [_LEVEL.pack(75 + number % 9, last - 5 * level, 3) for level in range(1, 6)]
    asks = [_LEVEL.pack(10 + number % 7, last + 5 * level, 2) for level in range(1, 6)]
    return b"".join([head, *bids, *asks])


def kite_full(number: int, ns: int) -> bytes:
    first = number * PACKETS
    return _framed([_full(each, ns) for each in range(first, first + PACKETS)])


def kite_ltp(number: int, _: int) -> bytes:
    first = number * PACKETS
    numbers = range(first, first + PACKETS)
    return _framed([_LTP.pack(TOKENS[SYMBOLS[each % 100]], _paise(each)) for each in numbers])


def parse_kite(frame: bytes) -> list[dict[str, Any]]:
    """The ticks of a frame."""
    ticks, at = [], 2
    for _ in range(_LENGTH.unpack_from(frame)[0]):
        (length,) = _LENGTH.unpack_from(frame, at)
        ticks.append(_tick(frame[at + 2 : at + 2 + length]))
        at += 2 + length
    return ticks


def _tick(packet: bytes) -> dict[str, Any]:
    if len(packet) == _LTP.size:
        token, last = _LTP.unpack(packet)
        return {"symbol": _SYMBOL_OF[token], "last": last / 100}
    token, last, size, *_, opened, high, low, close, _, _, _, _, second = _FULL.unpack_from(packet)
    bid_size, bid, _ = _LEVEL.unpack_from(packet, _FULL.size)
    ask_size, ask, _ = _LEVEL.unpack_from(packet, _ASKS_AT)
    return {
        "symbol": _SYMBOL_OF[token],
        "ts_event": second * 10**9,
        "last": last / 100,
        "size": size,
        "day": (opened / 100, high / 100, low / 100, close / 100),
        "quote": {"bid": bid / 100, "bid_size": bid_size, "ask": ask / 100, "ask_size": ask_size},
    }


def rows_of_kite(ticks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for tick in ticks for row in _rows(tick)]


def _rows(tick: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "day" not in tick:
        yield {"symbol": tick["symbol"], "price": tick["last"]}
        return
    about = {"symbol": tick["symbol"], "ts_event": tick["ts_event"]}
    yield about | tick["quote"]
    yield about | {"price": tick["last"], "size": tick["size"]}
    for price in tick["day"]:
        yield about | {"price": price}


def plain_kite(row: dict[str, Any], received_at: int) -> dict[str, Any]:
    return {"ts_event": received_at, "created_at": received_at, **row}
