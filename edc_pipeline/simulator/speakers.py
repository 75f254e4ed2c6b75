"""The vendors whose protocols the simulator speaks, by the names of `vendors/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edc_pipeline.simulator.alpha_vantage import AlphaVantage
from edc_pipeline.simulator.binance import Binance
from edc_pipeline.simulator.coinbase import Coinbase
from edc_pipeline.simulator.finage import Finage
from edc_pipeline.simulator.finage_rest import FinageRest
from edc_pipeline.simulator.finnhub import Finnhub
from edc_pipeline.simulator.finnhub_rest import FinnhubRest
from edc_pipeline.simulator.fmp import Fmp
from edc_pipeline.simulator.fmp_rest import FmpRest
from edc_pipeline.simulator.kraken import Kraken
from edc_pipeline.simulator.massive import Massive
from edc_pipeline.simulator.massive_rest import MassiveRest
from edc_pipeline.simulator.rest import SpeaksRest
from edc_pipeline.simulator.session import Speaks
from edc_pipeline.simulator.tiingo import Tiingo
from edc_pipeline.simulator.tiingo_rest import TiingoRest
from edc_pipeline.simulator.twelve_data import TwelveData
from edc_pipeline.simulator.twelve_data_rest import TwelveDataRest
from edc_pipeline.simulator.zerodha import Zerodha

SPEAKERS: Final[Mapping[str, Speaks]] = {
    "finage": Finage,
    "finnhub": Finnhub,
    "fmp": Fmp,
    "massive": Massive,
    "tiingo": Tiingo,
    "binance": Binance,
    "coinbase": Coinbase,
    "kraken": Kraken,
    "twelve_data": TwelveData,
    "zerodha": Zerodha,
}

RESTS: Final[Mapping[str, SpeaksRest]] = {
    "finage": FinageRest,
    "finnhub": FinnhubRest,
    "fmp": FmpRest,
    "massive": MassiveRest,
    "alpha_vantage": AlphaVantage,
    "tiingo": TiingoRest,
    "twelve_data": TwelveDataRest,
}
