"""The vendors whose websocket protocol the fake exchange speaks, by the names of `vendors/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edc_pipeline.simulator.session import Speaks
from edc_pipeline.simulator.tiingo import Tiingo

SPEAKERS: Final[Mapping[str, Speaks]] = {
    "tiingo": Tiingo,
}
