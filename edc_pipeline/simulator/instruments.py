"""What is listed on the synthetic market, and how each instrument behaves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

AssetClass = Literal["equity", "etf", "fx", "crypto"]

# Common causes of price moves, so that instruments move together: stocks, the dollar, coins.
FACTORS: Final = ("stocks", "dollar", "coins")

# A coin trades in several places at once, each with its own book; the others here have one book.
COIN_VENUES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One listed instrument. Prices are whole multiples of the tick, `1 / ticks_per_unit`."""

    symbol: str
    asset_class: AssetClass
    start_price: float
    ticks_per_unit: int
    volatility: float  # of log price, per square root of a year of 365 days
    loadings: tuple[float, float, float]  # share of the volatility that each factor causes
    activity: float = 1.0  # weight in the market's ticks
    spread_ticks: int = 1
    trade_share: float = 0.25  # of its ticks; the rest are quotes
    typical_size: float = 100.0

    @property
    def venues(self) -> int:
        return COIN_VENUES if self.asset_class == "crypto" else 1


def _stock(
    symbol: str,
    price: float,
    activity: float,
    spread: int,
    *,
    volatility: float = 0.3,
    beta: float = 0.7,
    asset_class: AssetClass = "equity",
) -> Instrument:
    return Instrument(
        symbol=symbol,
        asset_class=asset_class,
        start_price=price,
        ticks_per_unit=100,
        volatility=volatility,
        loadings=(beta, 0.0, 0.0),
        activity=activity,
        spread_ticks=spread,
    )


def _pair(symbol: str, price: float, activity: float, dollar: float) -> Instrument:
    return Instrument(
        symbol=symbol,
        asset_class="fx",
        start_price=price,
        ticks_per_unit=1_000 if price > 20 else 100_000,
        volatility=0.08,
        loadings=(0.0, dollar, 0.0),
        activity=activity,
        spread_ticks=8,
        trade_share=0.0,  # a currency feed has no trades
        typical_size=1_000_000.0,
    )


def _coin(
    symbol: str, price: float, activity: float, ticks_per_unit: int, size: float
) -> Instrument:
    return Instrument(
        symbol=symbol,
        asset_class="crypto",
        start_price=price,
        ticks_per_unit=ticks_per_unit,
        volatility=0.6,
        loadings=(0.3, 0.0, 0.75),
        activity=activity,
        spread_ticks=2,
        trade_share=0.4,
        typical_size=size,
    )


LISTED: Final[dict[str, Instrument]] = {
    instrument.symbol: instrument
    for instrument in (
        _stock("SPY", 689.25, 4.0, 1, volatility=0.16, beta=0.97, asset_class="etf"),
        _stock("QQQ", 616.40, 2.5, 1, volatility=0.2, beta=0.95, asset_class="etf"),
        _stock("AAPL", 248.35, 3.0, 1),
        _stock("MSFT", 451.10, 2.0, 2),
        _stock("NVDA", 184.80, 3.5, 1, volatility=0.45),
        _stock("TSLA", 449.35, 3.0, 3, volatility=0.55, beta=0.6),
        _stock("AMZN", 234.30, 2.0, 1),
        _stock("IBM", 294.90, 0.8, 5),
        _stock("BRK.B", 483.70, 0.6, 6, volatility=0.18),
        _pair("EUR/USD", 1.17542, 1.5, -0.85),
        _pair("GBP/USD", 1.34918, 1.2, -0.75),
        _pair("USD/JPY", 158.412, 1.2, 0.7),
        _coin("BTC/USD", 89_342.15, 2.0, 100, 0.05),
        _coin("ETH/USD", 2_951.40, 1.5, 100, 0.8),
        # So cheap that its price is written in scientific notation, as 6.255e-5.
        _coin("SHIB/USD", 0.00006255, 0.4, 100_000_000, 2_500_000.0),
    )
}

# fmt: off
_CURRENCIES: Final = frozenset((
    "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK", "DKK",
    "PLN", "CZK", "HUF", "TRY", "ZAR", "MXN", "CNH", "SGD", "HKD", "INR",
))
# fmt: on


def invented(symbol: str) -> Instrument:
    """An instrument for a symbol not in `LISTED`: the same one every time, on every machine."""
    # Not hash(): that differs from one process to the next.
    draw = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:8], "big") / 2**64
    base, _, quote = symbol.partition("/")
    if base in _CURRENCIES and quote in _CURRENCIES:
        price = 40.0 + 140.0 * draw if quote == "JPY" else 0.5 + 1.5 * draw
        return _pair(symbol, round(price, 3), 0.8, 0.5 if base == "USD" else -0.5)
    if quote:
        return _coin(symbol, round(0.5 + 300.0 * draw**2, 4), 0.5, 10_000, 20.0)
    return _stock(symbol, round(8.0 + 400.0 * draw**2, 2), 0.5, 1 + int(4 * draw))


def listing(symbols: Iterable[str] | None = None) -> tuple[Instrument, ...]:
    """The instruments for these symbols, each once, in their order; all of `LISTED` for None."""
    if symbols is None:
        return tuple(LISTED.values())
    wanted = dict.fromkeys(s.strip().upper() for s in symbols)
    wanted.pop("", None)
    if not wanted:
        raise ValueError("symbols: none given; name at least one, e.g. SPY or EUR/USD")
    for symbol in wanted:
        parts = symbol.split("/")
        if len(parts) > 2 or not all(p.replace(".", "").replace("-", "").isalnum() for p in parts):
            raise ValueError(f"symbols: {symbol!r} is none; write SPY, BRK.B, EUR/USD or BTC/USD")
    return tuple(LISTED.get(symbol) or invented(symbol) for symbol in wanted)
