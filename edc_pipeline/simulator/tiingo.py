"""The Tiingo websocket protocol, server side: /iex, /fx and /crypto. No I/O.

Built from the protocol's description alone, never from the adapter that will read it: an error
made on both sides would hide itself.
"""

from __future__ import annotations

import datetime as dt
import hmac
import json
import random
from collections.abc import Callable, Hashable, Sequence
from http import HTTPStatus
from math import isnan
from typing import Any, Final

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms

PATHS: Final = {"/iex": "iex", "/fx": "fx", "/crypto": "crypto"}
_LISTED_ON: Final = {"equity": "iex", "etf": "iex", "fx": "fx", "crypto": "crypto"}
_SERVICE_FIELD: Final = {"iex": "iex", "fx": "fx", "crypto": "crypto_data"}

# The first of each is what a subscribe without thresholdLevel gets; the documentation is silent on
# that, so it is the level that every tier has.
_LEVELS: Final = {"iex": (6, 5, 0), "fx": (7, 5), "crypto": (5, 2)}
_LEVELS_WITH_AGREEMENT: Final = frozenset({("iex", 0), ("iex", 5)})

# Names as the feed spells them (Coinbase is still `gdax`), with their clocks' digits.
VENUES: Final = (("gdax", 6), ("binance", 3), ("bitfinex", 6), ("kraken", 3))

# Key order and whitespace vary between the frames of one connection, as in recordings.
_ENVELOPES: Final = (
    ('{{"messageType":"A","service":"{0}","data":[{1}]}}', ","),
    ('{{"service":"{0}","messageType":"A","data":[{1}]}}', ","),
    ('{{"data":[{1}],"messageType":"A","service":"{0}"}}', ","),
    ('{{"messageType": "A", "service": "{0}", "data": [{1}]}}', ", "),
    ('{{"data": [{1}], "service": "{0}", "messageType": "A"}}', ", "),
    ('{{"service": "{0}", "data": [{1}], "messageType": "A"}}', ", "),
    ('{{"messageType":"A","data":[{1}],"service":"{0}"}}', ","),
    ('{{ "messageType":"A", "service":"{0}", "data":[ {1} ] }}', ", "),
)


def ticker_of(symbol: str) -> str:
    """`BRK.B` → `brk-b`, `EUR/USD` → `eurusd`."""
    return symbol.lower().replace(".", "-").replace("/", "")


class Tiingo:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = PATHS
        self._instruments = tuple(instruments)
        self._terms = terms or Terms()
        self._seed = seed

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None

    def session(self, service: str, ordinal: int, asked: Asked) -> TiingoSession:
        return TiingoSession(
            service,
            self._instruments,
            self._terms,
            random.Random(f"{self._seed}/{service}/{ordinal}"),
        )


class Refusal(Exception):
    """An E frame: the request is not granted; the connection stays unless `fatal`."""

    def __init__(self, code: int, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.fatal = fatal


class TiingoSession:
    """One connection. Holds one subscription, as the service does: later requests change it."""

    def __init__(
        self,
        service: str,
        instruments: Sequence[Instrument],
        terms: Terms,
        choice: random.Random,
    ) -> None:
        self.service = service
        self.refused = False
        self._terms = terms
        self._choice = choice
        here = [(n, i) for n, i in enumerate(instruments) if _LISTED_ON[i.asset_class] == service]
        self._ticker = {n: ticker_of(i.symbol) for n, i in here}
        self._instrument = {ticker: n for n, ticker in self._ticker.items()}
        self._id: int | None = None
        self._level = _LEVELS[service][0]
        self._tickers: dict[str, None] = {}  # as asked for, known or not; "*" is the firehose
        self._excluded: set[str] = set()  # unsubscribed from the firehose
        self._wanted: frozenset[int] = frozenset()
        self._last_sent: dict[int, Any] = {}  # by instrument: what the level's filter compares
        self._service_field = _SERVICE_FIELD[service]
        self._row: Callable[[Tick, str, str], str | None] = {
            "iex": self._iex_row,
            "fx": self._fx_row,
            "crypto": self._crypto_row,
        }[service]
        self._new_york = _Stamps(MARKET_ZONE)
        self._utc = _Stamps(dt.UTC)

    # -- conversation -------------------------------------------------------------------------

    def greeting(self) -> list[Reply]:
        return []

    @property
    def subscription(self) -> Hashable | None:
        if self._id is None:
            return None
        tickers, excluded = frozenset(self._tickers), frozenset(self._excluded)
        return (self.service, self._level, tickers, excluded)

    def heartbeat(self) -> Reply | None:
        if self._id is None:
            return None
        return _reply("heartbeat", 200, "HeartBeat", "H")

    def on_message(self, message: str | bytes) -> list[Reply]:
        try:
            return self._answer(_request(message))
        except Refusal as refusal:
            self.refused = refusal.fatal
            return [_reply("error", refusal.code, str(refusal), "E")]

    def _answer(self, request: dict[str, Any]) -> list[Reply]:
        self._check_token(request.get("authorization"))
        event = request.get("eventName")
        if event not in ("subscribe", "unsubscribe"):
            raise Refusal(400, "eventName not valid")
        asked = request.get("eventData") or {}
        if not isinstance(asked, dict):
            raise Refusal(400, "eventData not valid")
        subscription = asked.get("subscriptionId")
        if self._id is None and (event == "unsubscribe" or subscription is not None):
            raise Refusal(400, "subscriptionId not valid")
        if subscription is not None and str(subscription) != str(self._id):
            raise Refusal(400, "subscriptionId not valid")
        level = self._level_asked(asked)
        tickers = _tickers_asked(asked)
        is_new = self._id is None
        self._level = level
        if event == "subscribe":
            self._add(tickers, is_new)
        else:
            self._remove(tickers)
        self._settle_wanted()
        if not is_new:
            return [self._information(tickers=list(self._tickers), thresholdLevel=str(level))]
        self._id = self._choice.randrange(10_000_000, 100_000_000)
        return [self._information(), _reply("heartbeat", 200, "HeartBeat", "H")]

    def _check_token(self, token: object) -> None:
        right = isinstance(token, str) and token != ""
        if right and self._terms.token is not None:
            right = hmac.compare_digest(str(token).encode(), self._terms.token.encode())
        if not right:
            # The real text is not known; that an E comes before any I, and the close, is.
            raise Refusal(401, "Invalid authorization token", fatal=self._id is None)

    def _level_asked(self, asked: dict[str, Any]) -> int:
        level = asked.get("thresholdLevel", self._level)
        if isinstance(level, str) and level.isascii() and level.isdigit():
            level = int(level)
        if isinstance(level, bool) or level not in _LEVELS[self.service]:
            raise Refusal(400, "thresholdLevel not valid")
        if not self._terms.iex_agreement and (self.service, level) in _LEVELS_WITH_AGREEMENT:
            raise Refusal(400, "thresholdLevel not valid for your subscription tier")
        return int(level)

    def _add(self, tickers: list[str] | None, is_new: bool) -> None:
        if tickers is None and not is_new:
            return  # a change of the level alone
        if tickers is None or "*" in tickers:
            self._tickers, self._excluded = {"*": None}, set()
            return
        self._tickers.update(dict.fromkeys(tickers))
        self._excluded -= set(tickers)

    def _remove(self, tickers: list[str] | None) -> None:
        if tickers is None or "*" in tickers:
            self._tickers, self._excluded = {}, set()
            return
        if "*" in self._tickers:
            self._excluded |= set(tickers)
        for ticker in tickers:
            self._tickers.pop(ticker, None)

    def _settle_wanted(self) -> None:
        # A ticker nobody lists is accepted and stays silent, as on the real service.
        asked = self._instrument if "*" in self._tickers else self._tickers
        self._wanted = frozenset(
            self._instrument[t] for t in asked if t in self._instrument and t not in self._excluded
        )

    def _information(self, **more: object) -> Reply:
        return _reply("info", 200, "Success", "I", {"subscriptionId": self._id, **more})

    # -- data ---------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> str | None:
        if tick.instrument not in self._wanted:
            return None
        envelope, comma = _ENVELOPES[self._choice.getrandbits(3)]
        row = self._row(tick, self._ticker[tick.instrument], comma)
        return None if row is None else envelope.format(self._service_field, row)

    def _iex_row(self, tick: Tick, ticker: str, comma: str) -> str | None:
        mid = (tick.bid + tick.ask) / 2  # NaN when a side is missing
        if tick.kind == QUOTE:
            if self._level != 0 and not self._mid_moved(tick.instrument, mid):
                return None
        elif tick.kind != TRADE and self._level == 6:
            return None
        stamp = self._new_york.text(tick.ts_ns, 9)
        if self._level == 6:
            reference = mid if tick.kind == QUOTE else tick.price
            return comma.join((f'"{stamp}"', f'"{ticker}"', _number(reference)))
        head = (f'"{stamp}"', str(tick.ts_ns), f'"{ticker}"')
        after_hours = str(int(tick.after_hours))
        if tick.kind == QUOTE:
            bid = (_shares(tick.bid_size), _number(tick.bid))
            ask = (_number(tick.ask), _shares(tick.ask_size))
            state = (str(int(tick.halted)), after_hours)
            nulls = ("null",) * 3
            return comma.join(
                ('"Q"', *head, *bid, _number(mid), *ask, "null", "null", *state, *nulls)
            )
        letter = '"T"' if tick.kind == TRADE else '"B"'
        print_ = (_number(tick.price), _shares(tick.size), "null", after_hours)
        flags = [str(int(flag)) for flag in (tick.sweep, tick.odd_lot, tick.exempt)]
        return comma.join((letter, *head, *(("null",) * 5), *print_, *flags))

    def _mid_moved(self, instrument: int, mid: float) -> bool:
        """Level 5 promises moves of a cent or more; level 6 a new reference price."""
        least = 0.00999999 if self._level == 5 else 1e-9  # a cent, as floats subtract
        if isnan(mid) or abs(mid - self._last_sent.get(instrument, 0.0)) < least:
            return False
        self._last_sent[instrument] = mid
        return True

    def _fx_row(self, tick: Tick, ticker: str, comma: str) -> str | None:
        if tick.kind != QUOTE:
            return None
        book = (tick.bid_size, tick.bid, tick.ask, tick.ask_size)
        if self._level == 7:
            if self._last_sent.get(tick.instrument) == book:
                return None
            self._last_sent[tick.instrument] = book
        # Some stamps of one connection have milliseconds, some microseconds.
        digits = 3 if tick.ts_ns // 1000 % 8 == 0 else 6
        if tick.said is not None:
            digits = _digits_needed(tick.ts_ns)
        cells = ('"Q"', f'"{ticker}"', f'"{self._utc.text(tick.ts_ns, digits)}"', *_sides(tick))
        return comma.join(cells)

    def _crypto_row(self, tick: Tick, ticker: str, comma: str) -> str | None:
        venue, digits = VENUES[tick.venue % len(VENUES)]
        if tick.said is not None:
            venue, digits = tick.said.venue or venue, _digits_needed(tick.ts_ns)
        head = (f'"{ticker}"', f'"{self._utc.text(tick.ts_ns, digits)}"', f'"{venue}"')
        if tick.kind == TRADE:
            size, price = _aggregated(tick)
            return comma.join(('"T"', *head, _number(size), _number(price)))
        if tick.kind != QUOTE or self._level == 5:
            return None
        return comma.join(('"Q"', *head, *_sides(tick)))


def _sides(tick: Tick) -> tuple[str, ...]:
    """The order of live frames; the documentation's table swaps the last two."""
    mid = (tick.bid + tick.ask) / 2
    return tuple(_number(x) for x in (tick.bid_size, tick.bid, mid, tick.ask_size, tick.ask))


def _aggregated(tick: Tick) -> tuple[float, float]:
    """Most crypto T rows are several prints added up: sizes and prices carry float noise."""
    prints = 1 + tick.ts_ns % 4
    if prints == 1 or tick.said is not None:  # what was recorded is said as it was
        return tick.size, tick.price
    part = tick.size / prints
    size = value = 0.0
    for n in range(prints):
        size += part
        value += part * (tick.price * (1 + n * 1e-6))
    return size, value / size


def _number(value: float) -> str:
    if isnan(value):
        return "null"
    text = repr(value)
    return text.replace("e-0", "e-") if "e-0" in text else text  # 6.255e-5, as the feed writes it


def _shares(value: float) -> str:
    if isnan(value):
        return "null"
    return str(int(value)) if value.is_integer() else _number(value)


def _digits_needed(ts_ns: int) -> int:
    """A recorded stamp loses nothing: milliseconds, microseconds or nanoseconds."""
    if ts_ns % 1000:
        return 9
    return 6 if ts_ns % 1_000_000 else 3


def _reply(
    kind: Any, code: int, message: str, letter: str, data: dict[str, object] | None = None
) -> Reply:
    frame: dict[str, object] = {"response": {"code": code, "message": message}}
    if data is not None:
        frame["data"] = data
    frame["messageType"] = letter
    return Reply(kind, json.dumps(frame, separators=(",", ":")))


def _request(message: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise Refusal(400, "Invalid JSON")
    return request


def _tickers_asked(asked: dict[str, Any]) -> list[str] | None:
    tickers = asked.get("tickers")
    if tickers is None:
        return None
    if not isinstance(tickers, list) or not all(isinstance(t, str) for t in tickers):
        raise Refusal(400, "tickers not valid")
    return [t.lower() for t in tickers]


class _Stamps:
    """ISO stamps of one clock. The whole second is kept, since neighbours share it."""

    def __init__(self, zone: dt.tzinfo) -> None:
        self._zone = zone
        self._second = -1
        self._head = self._offset = ""

    def text(self, ts_ns: int, digits: int) -> str:
        second, ns = divmod(ts_ns, NS_PER_SECOND)
        if second != self._second:
            moment = dt.datetime.fromtimestamp(second, self._zone).isoformat()
            self._second, self._head, self._offset = second, moment[:-6], moment[-6:]
        return f"{self._head}.{f'{ns:09d}'[:digits]}{self._offset}"
