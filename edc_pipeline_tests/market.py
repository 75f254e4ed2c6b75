"""Events for tests: strategies for any, and makers for one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from edc_pipeline.events import NAN, NS_MAX, NS_MIN, AnyEvent, Quote, RefPx, Trade

NOON = 1_769_101_200_000_000_000  # 2026-01-22 12:00 in New York

numbers = st.one_of(
    st.just(NAN),
    st.sampled_from([0.0, -0.0, 1.0, 100.25, 6.255e-5, 1e308, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
)
symbols = st.sampled_from(["SPY", "BRK.B", "EUR/USD", "BTC/USD", "Ω"])


def trade(**told: Any) -> Trade:
    return Trade(
        **{
            "ts_event": NOON,
            "symbol": "SPY",
            "asset_class": "etf",
            "vendor": "tiingo",
            "feed": "iex",
            "created_at": NOON + 1_000_000,
            "price": 620.1,
            "size": 100.0,
            **told,
        }
    )


def quote(**told: Any) -> Quote:
    return Quote(
        **{
            "ts_event": NOON,
            "symbol": "SPY",
            "asset_class": "etf",
            "vendor": "tiingo",
            "feed": "iex",
            "created_at": NOON + 1_000_000,
            "bid_price": 620.1,
            "bid_size": 100.0,
            "ask_price": 620.2,
            "ask_size": 200.0,
            **told,
        }
    )


def ref_px(**told: Any) -> RefPx:
    return RefPx(
        **{
            "ts_event": NOON,
            "symbol": "SPY",
            "asset_class": "etf",
            "vendor": "tiingo",
            "feed": "iex",
            "created_at": NOON + 1_000_000,
            "price": 620.1,
            "kind": "reference",
            **told,
        }
    )


def events(stamps: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[AnyEvent]:
    """Any event; few distinct values, so that equal content is common."""
    ts = stamps if stamps is not None else st.integers(NS_MIN, NS_MAX)
    shared: dict[str, st.SearchStrategy[Any]] = {
        "ts_event": ts,
        "symbol": symbols,
        "venue": st.sampled_from(["", "gdax"]),
        "event_id": st.sampled_from(["", "1", "2"]),
        "seq": st.sampled_from([-1, 0, 7]),
        "ts_source": st.sampled_from(["vendor", "receive"]),
    }
    return st.one_of(
        st.builds(trade, **shared, price=numbers, size=numbers, side=st.sampled_from(["", "buy"])),
        st.builds(quote, **shared, bid_price=numbers, ask_price=numbers),
        st.builds(ref_px, **shared, price=numbers),
    )
