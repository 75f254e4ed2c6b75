"""The vendors whose protocols the simulator speaks, by the names of `vendors/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edc_pipeline.simulator.binance import Binance
from edc_pipeline.simulator.coinbase import Coinbase
from edc_pipeline.simulator.kraken import Kraken
from edc_pipeline.simulator.rest import SpeaksRest
from edc_pipeline.simulator.session import Speaks
from edc_pipeline.simulator.tiingo import Tiingo
from edc_pipeline.simulator.tiingo_rest import TiingoRest

SPEAKERS: Final[Mapping[str, Speaks]] = {
    "tiingo": Tiingo,
    "binance": Binance,
    "coinbase": Coinbase,
    "kraken": Kraken,
}

RESTS: Final[Mapping[str, SpeaksRest]] = {
    "tiingo": TiingoRest,
}
