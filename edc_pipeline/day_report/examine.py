"""A daily file read once, block by block, for all that is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.h5_read import blocks, open_daily, table_in
from edc_pipeline.day_report.agreement import Agreement, agreement_of
from edc_pipeline.day_report.codes import Codes
from edc_pipeline.day_report.figures import Counting, Figures
from edc_pipeline.day_report.sane_prices import Insane, Looking
from edc_pipeline.market_day import parse_day

SHOWN: Final = 50  # rows listed of all that is wrong; all are counted


@dataclass(frozen=True, slots=True)
class Examined:
    figures: Figures
    insane: Insane
    agreement: Agreement


def examine(path: Path, told: Certificate, *, show: int = SHOWN) -> Examined:
    """The file is trusted to be the one that `told` is of: `verify` looks at that."""
    symbols = Codes()
    counting = Counting(told.event_type, parse_day(told.day))
    looking = Looking(told.event_type, show=show)
    with open_daily(path) as file:
        for block in blocks(table_in(file, told.event_type)):
            numbers = symbols.of(block["symbol"])
            counting.add(block, numbers)
            looking.add(block, numbers)
    figures = counting.done(symbols)
    return Examined(figures, looking.insane, agreement_of(figures))
