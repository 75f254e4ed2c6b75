"""The vendors by name. A new vendor is one line here, one file or folder, one fixture folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from edc_pipeline.vendors.alpha_vantage import VENDOR as _ALPHA_VANTAGE
from edc_pipeline.vendors.binance import VENDOR as _BINANCE
from edc_pipeline.vendors.coinbase import VENDOR as _COINBASE
from edc_pipeline.vendors.contract import Vendor
from edc_pipeline.vendors.finage import VENDOR as _FINAGE
from edc_pipeline.vendors.finnhub import VENDOR as _FINNHUB
from edc_pipeline.vendors.fmp import VENDOR as _FMP
from edc_pipeline.vendors.kraken import VENDOR as _KRAKEN
from edc_pipeline.vendors.massive import VENDOR as _MASSIVE
from edc_pipeline.vendors.signed_json import VENDOR as _SIGNED_JSON
from edc_pipeline.vendors.tiingo import VENDOR as _TIINGO
from edc_pipeline.vendors.tradingview import VENDOR as _TRADINGVIEW
from edc_pipeline.vendors.twelve_data import VENDOR as _TWELVE_DATA
from edc_pipeline.vendors.zerodha import VENDOR as _ZERODHA

_ALL: Final = (
    _TIINGO,
    _BINANCE,
    _COINBASE,
    _KRAKEN,
    _FINNHUB,
    _FINAGE,
    _FMP,
    _MASSIVE,
    _TWELVE_DATA,
    _ZERODHA,
    _ALPHA_VANTAGE,
    _TRADINGVIEW,
    _SIGNED_JSON,
)
VENDORS: Final[Mapping[str, Vendor]] = {vendor.name: vendor for vendor in _ALL}

# What people call them otherwise: former names, product names. Dashes, dots, blanks and case do not
# matter in any name.
ALIASES: Final[Mapping[str, str]] = {
    "alphavantage": "alpha_vantage",
    "binance_spot": "binance",
    "binance_futures": "binance",
    "coinbase_exchange": "coinbase",
    "coinbase_advanced": "coinbase",
    "financial_modeling_prep": "fmp",
    "financialmodelingprep": "fmp",
    "kite": "zerodha",
    "zerodha_kite": "zerodha",
    "polygon": "massive",
    "polygon_io": "massive",
    "trading_view": "tradingview",
    "twelvedata": "twelve_data",
    "webhook": "signed_json",
}


def named(name: str) -> Vendor | None:
    """The vendor that is meant, whichever of its names is used; None: nobody is."""
    plain = re.sub(r"[-. ]+", "_", name.strip().lower())
    for known in (plain, ALIASES.get(plain, plain)):
        if known in VENDORS:
            return VENDORS[known]
    # Every vendor of several words is also found where they are written as one, and the other way.
    run_together = plain.replace("_", "")
    found = [v for key, v in VENDORS.items() if key.replace("_", "") == run_together]
    return found[0] if found else None
