"""Real days: genuine repeats stay, and what is delivered twice is not."""

from __future__ import annotations

import csv
import datetime as dt
import io
import zipfile
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.events import Trade
from edc_pipeline.market_day import midnight_ns
from edc_pipeline_tests.consolidation.spools import Row, frames, split, write_batches

DAYS: Final = Path(__file__).parents[3] / "shared" / "corpus" / "days"
IBM: Final = DAYS / "lean_equity_usa_ibm_20131007_trade.zip"
DAY: Final = dt.date(2013, 10, 7)

pytestmark = pytest.mark.skipif(
    not IBM.exists(), reason="the recorded days (../shared/corpus/days) are not on this machine"
)


def prints(late_ns: int) -> list[Trade]:
    with zipfile.ZipFile(IBM) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    midnight = midnight_ns(DAY)
    return [
        Trade(
            ts_event=midnight + int(ms) * 10**6,
            symbol="IBM",
            asset_class="equity",
            vendor="lean",
            feed="trade",
            venue=venue,
            conditions=f"{condition} {suspicious}",
            price=int(price) / 10_000,
            size=float(size),
            created_at=midnight + int(ms) * 10**6 + late_ns,
        )
        for ms, price, size, venue, condition, suspicious in csv.reader(io.StringIO(text))
    ]


def one_connection(name: str, late_ns: int, in_a_frame: int, first_frame: int) -> list[Row]:
    events = prints(late_ns)
    groups = [events[i : i + in_a_frame] for i in range(0, len(events), in_a_frame)]
    return frames(groups, name, first_frame)


def test_a_recorded_day_sent_once_and_twice(spool: Path, out: Path) -> None:
    once = one_connection("a", 4_000_000, 10, 0)
    write_batches(spool, split(once, 3), day=DAY)
    made = consolidate(spool, out, "trade", DAY, rules={}).certificate
    assert (made.rows_in, made.rows) == (24_293, 24_293)
    alike = Counter(tuple(getattr(r.event, c) for c in CONTENT) for r in once)
    assert sum(n - 1 for n in alike.values()) == 1_274

    # Again over a second connection, which packs its frames otherwise.
    twice = one_connection("b", 7_000_000, 7, 10_000)
    write_batches(spool, split(twice, 5), day=DAY, first_number=3)
    again = consolidate(spool, out, "trade", DAY, rules={})
    assert (again.certificate.rows_in, again.certificate.rows) == (48_586, 24_293)
    assert again.certificate.duplicates.other_connection == 24_293
    assert again.certificate.content_hash == made.content_hash
    assert verify(again.path, spool).findings == []


CONTENT: Final = ("ts_event", "price", "size", "venue", "conditions")
