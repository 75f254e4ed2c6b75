"""A day's frames read again: the daily files that come out are those made live."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import market_day
from edc_pipeline.replay.done import Done
from edc_pipeline.replay.frame_vendor import FrameVendor, RecordedFrames
from edc_pipeline.replay.frames_into_spool import replay_frames
from edc_pipeline.replay.recorded_frames import NoFrames, days_recorded, spans_of
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.spool.layout import day_folder
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import read_micro_batch
from edc_pipeline.spool.replay_mark import Replayed, SpoolIsLive, mark_replay, replayed_into
from edc_pipeline_tests.capture.test_collector import (
    COINS,
    CURRENCIES,
    REFERENCE,
    STOCKS,
    capture_all,
    scripted,
    settings_for,
)
from edc_pipeline_tests.cli.calling import edc
from edc_pipeline_tests.simulator.client import is_data

EVENT_DAY = dt.date(2026, 1, 22)


def live(tmp_path: Path, chaos: str = "", **capture: Any) -> tuple[Settings, Exchange]:
    """A live capture of four feeds, with chaos on the line."""

    async def scenario() -> tuple[Settings, Exchange]:
        config = scripted(6_000, 4, chaos, resend_on_subscribe=40)
        async with Exchange(config) as exchange:
            settings = settings_for(
                exchange,
                tmp_path,
                stocks=STOCKS,
                reference=REFERENCE,
                currencies=CURRENCIES,
                coins=COINS,
                capture={"flush_rows": 900, **capture},
            )
            await capture_all(exchange, settings)
            return settings, exchange

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def hashes(spool: Path, out: Path) -> dict[EventType, str]:
    made = {}
    for event_type in EVENT_TYPES:
        done = consolidate(spool, out, event_type, EVENT_DAY)
        assert done.certificate.balanced, done.certificate.reasons
        made[event_type] = done.certificate.content_hash
    return made


CHAOS = (
    "cut@iex:700,rubbish@400:truncated,duplicate=1%,delay=1%:50ms,reorder=1%,corrupt=0.2%,seed=9"
)


def replay(settings: Settings, into: Path, **told: Any) -> Done:
    return replay_frames(settings.spool, into, EVENT_DAY, rules=settings.capture, **told)


def test_frames_replayed_give_the_content_of_the_file_made_live(tmp_path: Path) -> None:
    settings, exchange = live(tmp_path / "live", CHAOS)
    assert exchange.trouble.counts["cut"] == 1
    assert exchange.trouble.counts["corrupt"] > 0
    done = replay(settings, tmp_path / "again")
    assert done.frames == sum(c.received for c in Ledger(settings.spool).frames().values())
    assert done.other_days == done.left_out == done.not_wanted == 0
    assert hashes(tmp_path / "again", tmp_path / "b") == hashes(settings.spool, tmp_path / "a")
    # The ledger says the same as well: frames by outcome, and the silence of the cut connection.
    before, after = Ledger(settings.spool), Ledger(tmp_path / "again")
    assert before.frames() == after.frames()
    assert [(g.source, g.from_ns, g.to_ns, g.reason) for g in before.gaps()] == [
        (g.source, g.from_ns, g.to_ns, g.reason) for g in after.gaps()
    ]
    # Every row leads back to the same frame of the same collector.
    first = next(day_folder(tmp_path / "again", "trade", EVENT_DAY).glob("*.parquet"))
    assert first.name.startswith("c1-")
    assert read_micro_batch(first, "trade")["connection"][0].as_py().startswith("c1/")


def test_two_replays_are_the_same_and_a_replay_can_be_of_some_symbols(tmp_path: Path) -> None:
    settings, _ = live(tmp_path / "live")
    replay(settings, tmp_path / "one")
    replay(settings, tmp_path / "two")
    assert hashes(tmp_path / "one", tmp_path / "a") == hashes(tmp_path / "two", tmp_path / "b")
    some = replay(settings, tmp_path / "some", symbols=["SPY"])
    assert some.not_wanted > 0
    made = consolidate(tmp_path / "some", tmp_path / "c", "trade", EVENT_DAY)
    assert made.certificate.balanced, made.certificate.reasons
    assert made.certificate.symbols == 1


def test_a_replay_that_leaves_frames_out_says_how_many(tmp_path: Path) -> None:
    settings, _ = live(tmp_path / "live")
    seen: list[int] = []

    def but_every_thirtieth(at_ns: int) -> bool:  # each of them ends a micro-batch
        seen.append(at_ns)
        return len(seen) % 30 != 0

    done = replay(settings, tmp_path / "again", gate=but_every_thirtieth)
    assert done.left_out == len(seen) // 30 > 0
    assert done.frames == len(seen) - done.left_out
    assert consolidate(tmp_path / "again", tmp_path / "a", "quote", EVENT_DAY).certificate.balanced


def test_a_spool_that_keeps_no_frames_says_so(tmp_path: Path) -> None:
    settings, _ = live(tmp_path / "live", raw_archive="0d")
    with pytest.raises(NoFrames, match="it keeps none at all"):
        spans_of(settings.spool, EVENT_DAY)


def test_nothing_is_mixed_with_what_is_live(tmp_path: Path) -> None:
    settings, _ = live(tmp_path / "live")
    said = Replayed(source="x", what="frames", at=1)
    with pytest.raises(SpoolIsLive, match="what a live capture received"):
        mark_replay(settings.spool, said)
    mark_replay(tmp_path / "new", said)
    assert replayed_into(tmp_path / "new") == said
    with pytest.raises(SpoolIsLive, match="an earlier replay"):
        mark_replay(tmp_path / "new", said)


def test_the_command_makes_the_same_files(tmp_path: Path) -> None:
    settings, _ = live(tmp_path / "live", CHAOS)
    into = tmp_path / "into"
    call = ["replay", "--day", str(EVENT_DAY), "--spool", str(settings.spool), "--into", str(into)]
    told = edc(*call, "--json", cwd=tmp_path, EDC_CAPTURE__HORIZON_DAYS="36500")
    assert told.code == 0, told.err
    summary = json.loads(told.out)
    made = hashes(settings.spool, tmp_path / "a")
    assert {f["hash"] for f in summary["files"]} == set(made.values())
    again = edc(*call, cwd=tmp_path)
    assert again.code == 2
    assert "an earlier replay" in again.err


# -- served again ---------------------------------------------------------------------------------


def served_again(
    settings: Settings, tmp_path: Path, feeds: dict[str, Any], audience: int
) -> tuple[Exchange, Settings]:
    received = days_recorded(settings.spool)
    assert len(received) == 1

    async def scenario() -> tuple[Exchange, Settings]:
        source = RecordedFrames(settings.spool, received[0], "tiingo")
        first = source.first_ns()
        assert first is not None
        config = ExchangeConfig(script_start_ns=first, audience=audience)
        vendor = FrameVendor("tiingo", source)
        async with Exchange(config, source=source, vendor=vendor) as exchange:
            again = settings_for(exchange, tmp_path, **feeds)
            await capture_all(exchange, again)
            return exchange, again

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def test_recorded_frames_are_served_byte_for_byte_to_who_asks_as_was_asked(tmp_path: Path) -> None:
    settings, original = live(tmp_path / "live")
    feeds = {"stocks": STOCKS, "reference": REFERENCE, "currencies": CURRENCIES, "coins": COINS}
    exchange, again = served_again(settings, tmp_path / "again", feeds, 4)
    assert market_day(exchange.truth.frames[0].at_ns) == days_recorded(settings.spool)[0]

    def sent(by: Exchange) -> dict[tuple[str, int], list[str | bytes]]:
        got: dict[tuple[str, int], list[str | bytes]] = {}
        for frame in by.truth.frames:
            got.setdefault((frame.service, frame.connection), []).append(frame.body)
        return got

    # The two of /iex may come in the other order: what each was sent is what counts.
    assert sorted(map(tuple, sent(exchange).values())) == sorted(
        map(tuple, sent(original).values())
    )
    assert all(is_data(f.body) for f in exchange.truth.frames)
    for event_type in EVENT_TYPES:
        first = consolidate(settings.spool, tmp_path / "a", event_type, EVENT_DAY).certificate
        second = consolidate(again.spool, tmp_path / "b", event_type, EVENT_DAY).certificate
        assert (first.rows, first.symbols) == (second.rows, second.symbols)


def test_a_part_of_the_frames_begins_and_ends_where_it_is_told_to(tmp_path: Path) -> None:
    settings, _ = live(tmp_path / "live")
    received = days_recorded(settings.spool)[0]
    source = RecordedFrames(settings.spool, received, "tiingo")
    times = source.take(100_000)["at_ns"].tolist()
    assert times == sorted(times)
    first, end = times[len(times) // 3], times[len(times) // 2]
    part = RecordedFrames(settings.spool, received, "tiingo", to_ns=end)
    part.jump_to(first)
    assert part.first_ns() == first
    assert part.take(100_000)["at_ns"].tolist() == [at for at in times if first <= at < end]


def test_who_asks_otherwise_gets_what_the_service_sent(tmp_path: Path) -> None:
    settings, _ = live(tmp_path / "live")
    other = {"feed": "iex", "symbols": ("SPY",), "options": {"threshold_level": 5}}
    exchange, again = served_again(settings, tmp_path / "again", {"other": other}, 1)
    counts = Ledger(settings.spool).frames()
    of_iex = sum(c.with_events for s, c in counts.items() if s.feed == "iex")
    assert exchange.truth.data == {"iex": of_iex}
    assert sum(c.with_events for c in Ledger(again.spool).frames().values()) == of_iex
