"""Feeds that are called, over real HTTP: who is let in, what is kept, when a caller hears 200."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tables
from prometheus_client import generate_latest

from edc_pipeline.capture.exposition import CaptureFigures, registry_of
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.retry import retry_quarantine
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.settings import Settings, load
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import Market, rows
from edc_pipeline.simulator.posting import Patience, post_all
from edc_pipeline.simulator.senders import Finnhub, Post, Sender, Signed, TradingView, posts_of
from edc_pipeline.spool.layout import days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.owner import current_owner
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline.transports.webhook import NoWebhookPort
from edc_pipeline_tests.capture.calling import (
    ALERTS,
    ENVIRON,
    FINNHUB_SECRET,
    POSTS,
    SIGNED,
    SIGNED_SECRET,
    TRADINGVIEW_SECRET,
    capturing,
    post,
    settings_for,
    url_of,
    written,
)
from edc_pipeline_tests.capture.test_collector import ledger_adds_up, rows_in, run, until
from edc_pipeline_tests.cli.calling import start

NOON = 1_769_101_200_000_000_000
SYMBOLS = ("SPY", "AAPL", "BRK.B", "BTC/USD")
ALERT = b'{"ticker":"SPY","exchange":"AMEX","close":"480.5","timenow":"2026-01-22T17:00:00Z"}'


def posts(sender: Sender, ticks: int = 120) -> list[Post]:
    market = Market(listing(SYMBOLS), start_ns=NOON, seed=5)
    return posts_of(sender, rows(market.take(ticks)), market.instruments, time.time_ns())


def daily_rows(settings: Settings, tmp_path: Path) -> list[tuple[str, str, float]]:
    """(event type, symbol, price) of all daily files made of this spool."""
    found: list[tuple[str, str, float]] = []
    for event_type, day in days_in(settings.spool):
        made = consolidate(
            spool=settings.spool, out=tmp_path / "daily", event_type=event_type, day=day
        )
        assert made.path is not None
        with tables.open_file(str(made.path)) as file:
            for row in file.root[event_type].table.read():
                found.append((event_type, row["symbol"].decode(), float(row["price"])))
    return found


def test_what_senders_post_is_in_the_daily_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        feeds = {"alerts": ALERTS, "fills": SIGNED, "prints": POSTS}
        settings = settings_for(tmp_path, feeds, per_second=500)
        alerts, fills = posts(TradingView(TRADINGVIEW_SECRET)), posts(Signed(SIGNED_SECRET))
        prints = posts(Finnhub(FINNHUB_SECRET))
        assert len(alerts) == len(fills) == len(prints) > 10
        async with capturing(settings) as collector:
            for name, sent in (("alerts", alerts), ("fills", fills), ("prints", prints)):
                posted = await post_all(url_of(settings, name), sent)
                assert len(posted.accepted) == len(sent)
                assert set(posted.answers) == {"200"}
            for feed in collector.report().feeds:
                assert (feed.state, feed.refused_calls) == ("live", {})
        ledger_adds_up(settings)
        told = sorted(daily_rows(settings, tmp_path))
        # Alerts that say the same in the same second can't be told from one that is sent again.
        of_alerts = [json.loads(body) for body in {p.body for p in alerts}]
        of_fills = [json.loads(p.body)["items"][0] for p in fills]
        ours = {"BRKB": "BRK.B", "BTCUSD": "BTC/USD"}
        theirs = {"BINANCE:BTCUSD": "BTC/USD"}
        expected = [("trade", ours.get(f["s"], f["s"]), float(f["p"])) for f in of_fills]
        of_prints = [json.loads(body)["data"][0] for body in {p.body for p in prints}]
        expected += [("trade", theirs.get(p["s"], p["s"]), p["p"]) for p in of_prints]
        expected += [
            ("ref_px", "BTC/USD" if a["ticker"] == "BTCUSD" else a["ticker"], float(a["close"]))
            for a in of_alerts
        ]
        assert told == sorted(expected)

    run(scenario)


def test_refused_callers_leave_a_count_and_no_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS, "fills": SIGNED}, body_kib=4)
        alerts, fills = url_of(settings, "alerts"), url_of(settings, "fills")
        signed, now = Signed(SIGNED_SECRET), time.time_ns()
        stale = signed.sign({"id": "e"}, now - 301 * 10**9)
        early = signed.sign({"id": "e"}, now + 302 * 10**9)
        forged = Signed("another-secret-0123").sign({"id": "e"}, now)
        good = signed.sign({"id": "e"}, now)
        altered = Post("", good.headers, good.body + b" ")
        async with capturing(settings) as collector:
            assert (await post(alerts, ALERT))[0] == 401
            assert (await post(alerts + "/wrong-guess-99999", ALERT))[0] == 401
            assert (await post(alerts, b'{"secret":"wrong-guess-99999"}'))[0] == 401
            for wrong in (stale, early, forged, altered):
                assert (await post(fills, wrong.body, **wrong.headers))[0] == 401
            assert (await post(fills, good.body))[0] == 401
            big = signed.sign({"id": "x" * 5000}, now)
            assert (await post(fills, big.body, **big.headers))[0] == 413
            zipped = {**good.headers, "Content-Encoding": "gzip"}
            assert (await post(fills, good.body, **zipped))[0] == 415
            assert (await post(url_of(settings, "nothing"), ALERT))[0] == 404
            found = {f.name: f for f in collector.report().feeds}
            assert found["alerts"].refused_calls == {"no secret": 1, "wrong secret": 2}
            assert found["fills"].refused_calls == {
                "stale time stamp": 2,
                "wrong signature": 2,
                "no signature": 1,
                "body too large": 1,
                "compressed body": 1,
            }
            assert collector.report().stray_calls == 1
            figures = CaptureFigures(collector.totals, collector.latencies)
            told = generate_latest(registry_of(figures)).decode()
            labels = 'feed="alerts",product="alerts",reason="wrong secret",vendor="tradingview"'
            assert f"edc_refused_calls_total{{{labels}}} 2.0" in told
            assert "edc_stray_calls_total 1.0" in told
            assert sum(f.frames for f in found.values()) == 0
        assert rows_in(settings.spool) == []

    with caplog.at_level(logging.DEBUG):
        run(scenario)
    assert "a call was refused: wrong secret" in caplog.text
    assert "wrong-guess" not in caplog.text
    assert "hush" not in caplog.text


def test_an_address_that_is_not_the_vendors_is_refused(tmp_path: Path) -> None:
    theirs = {**ALERTS, "options": {}}

    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": theirs}, proxy_header="X-Real-IP")
        url = f"{url_of(settings, 'alerts')}/{TRADINGVIEW_SECRET}"
        async with capturing(settings) as collector:
            assert (await post(url, ALERT))[0] == 403
            told = {"X-Real-IP": "52.89.214.238"}
            assert (await post(url, ALERT, **told))[0] == 200
            # What the caller itself put before the proxy's word counts for nothing.
            forged = {"X-Real-IP": "52.89.214.238, 10.1.1.1"}
            assert (await post(url, ALERT, **forged))[0] == 403
            (feed,) = collector.report().feeds
            assert feed.refused_calls == {"address not allowed": 2}

    run(scenario)


def test_a_header_of_a_proxy_that_is_not_ours_counts_for_nothing(tmp_path: Path) -> None:
    theirs = {**ALERTS, "options": {}}

    async def scenario() -> None:
        rules = {"proxy_header": "X-Real-IP", "proxies": ["10.0.0.1"]}
        settings = settings_for(tmp_path, {"alerts": theirs}, **rules)
        url = f"{url_of(settings, 'alerts')}/{TRADINGVIEW_SECRET}"
        async with capturing(settings):
            assert (await post(url, ALERT, **{"X-Real-IP": "52.89.214.238"}))[0] == 403

    run(scenario)


def test_what_comes_again_is_answered_and_not_taken_twice(tmp_path: Path) -> None:
    untimed = b'{"ticker":"SPY","exchange":"AMEX","close":"480.5"}'

    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS, "fills": SIGNED})
        alerts = f"{url_of(settings, 'alerts')}/{TRADINGVIEW_SECRET}"
        fills, signed = url_of(settings, "fills"), Signed(SIGNED_SECRET)
        item = {"s": "SPY", "p": "480.5", "q": 3, "t": NOON // 10**6}
        first = signed.sign({"id": "evt_1", "items": [item]}, time.time_ns())
        resigned = signed.sign({"id": "evt_1", "items": [item]}, time.time_ns() + 10**9)
        other = signed.sign({"id": "evt_2", "items": [item]}, time.time_ns())
        async with capturing(settings) as collector:
            both = await asyncio.gather(*(post(alerts, ALERT) for _ in range(5)))
            assert {status for status, _, _ in both} == {200}
            for body in (untimed, untimed):
                assert (await post(alerts, body))[0] == 200
            for each in (first, first, resigned, other):
                assert (await post(fills, each.body, **each.headers))[0] == 200
            found = {f.name: f for f in collector.report().feeds}
            assert (found["alerts"].frames, found["alerts"].delivered_again) == (3, 4)
            assert (found["fills"].frames, found["fills"].delivered_again) == (2, 2)
        # Neither does the next collector.
        async with capturing(settings, "c2") as collector:
            assert (await post(alerts, ALERT))[0] == 200
            assert (await post(fills, first.body, **first.headers))[0] == 200
            assert [f.frames for f in collector.report().feeds] == [0, 0]
        ledger_adds_up(settings)

    run(scenario)


def test_too_many_a_second_are_told_when_to_come_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS}, per_second=3)
        url = f"{url_of(settings, 'alerts')}/{TRADINGVIEW_SECRET}"
        bodies = [ALERT.replace(b"480.5", str(i).encode()) for i in range(12)]
        async with capturing(settings) as collector:
            answers = await asyncio.gather(*(post(url, body) for body in bodies))
            statuses = [status for status, _, _ in answers]
            assert set(statuses) == {200, 429}
            assert all(int(h["Retry-After"]) >= 1 for s, h, _ in answers if s == 429)
            # A sender that obeys brings everything in the end, and nothing is there twice.
            again = [Post(f"/{TRADINGVIEW_SECRET}", {}, body) for body in bodies]
            patience = Patience(first_pause_s=0.4, tries=20)
            posted = await post_all(url_of(settings, "alerts"), again, patience=patience)
            assert len(posted.accepted) == 12
            assert collector.report().feeds[0].frames == 12

    run(scenario)


def test_an_unreadable_body_of_a_true_caller_is_quarantined_with_its_bytes(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS})
        sender = TradingView(TRADINGVIEW_SECRET, proven_in="body", bare=True)
        body = posts(sender)[0].body
        async with capturing(settings) as collector:
            assert (await post(url_of(settings, "alerts"), body))[0] == 200
            assert collector.report().feeds[0].quarantined == 1
        today = dt.datetime.now(dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=-5))).date()
        (kept,) = read_quarantine(settings.spool, today)
        assert 'the placeholder of "volume" was filled with NaN' in kept.reason
        assert kept.payload == body.replace(TRADINGVIEW_SECRET.encode(), b"*" * 21)
        ledger_adds_up(settings)

    run(scenario)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TRADINGVIEW_SECRET.encode() not in path.read_bytes()


def test_nobody_hears_200_before_the_frame_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_stalls = asyncio.Event()
    commit_once = Journal._commit_once

    async def stalled(self: Journal) -> None:
        await disk_stalls.wait()
        await commit_once(self)

    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS})
        url = f"{url_of(settings, 'alerts')}/{TRADINGVIEW_SECRET}"
        monkeypatch.setattr(Journal, "_commit_once", stalled)
        async with capturing(settings) as collector:
            # It waits as long as TradingView would, and then asks to be called again.
            assert (await post(url, ALERT))[0] == 503
            assert collector.report().feeds[0].refused_calls == {"not durable in time": 1}
            calling = asyncio.create_task(post(url, ALERT))
            await asyncio.sleep(0.3)
            assert not calling.done()
            disk_stalls.set()
            assert (await calling)[0] == 200
            assert collector.report().feeds[0].frames == 1

    run(scenario)


def test_where_there_is_no_room_callers_are_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS})
        url = f"{url_of(settings, 'alerts')}/{TRADINGVIEW_SECRET}"
        async with capturing(settings) as collector:
            monkeypatch.setattr(type(collector._flusher), "is_full", True)
            status, headers, _ = await post(url, ALERT)
            assert (status, headers["Retry-After"]) == (503, "1")
            monkeypatch.undo()
            collector._flusher.make_room()
            assert (await post(url, ALERT))[0] == 200
            assert collector.report().feeds[0].refused_calls == {"no room": 1}

    run(scenario)


async def until_answer(url: str, request: Post, status: int) -> None:
    for _ in range(500):
        if (await post(url, request.body, **request.headers))[0] == status:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"it never answered {status}")


def test_a_feed_may_come_and_go_while_capture_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS})
        both = settings_for(tmp_path, {"alerts": ALERTS, "fills": SIGNED})
        port = settings.webhook.port
        alerts = f"http://127.0.0.1:{port}/alerts/{TRADINGVIEW_SECRET}"
        good = Signed(SIGNED_SECRET).sign({"id": "e", "items": []}, time.time_ns())
        async with capturing(settings) as collector:
            fills = f"http://127.0.0.1:{port}/fills"
            assert (await post(fills, good.body, **good.headers))[0] == 404
            collector.take_feeds(both)
            await until_answer(fills, good, 200)
            changed = {"alerts": {**ALERTS, "asset_classes": {"SPY": "etf"}}}
            collector.take_feeds(settings_for(tmp_path, changed))
            await until_answer(fills, good, 404)
            assert (await post(alerts, ALERT))[0] == 200
        ((_, row),) = rows_in(settings.spool)
        assert row["asset_class"] == "etf"

    run(scenario)


def test_a_port_that_is_taken_is_told_before_anything_is_captured(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = settings_for(tmp_path, {"alerts": ALERTS})
        server = await asyncio.start_server(
            lambda _r, w: w.close(), "127.0.0.1", settings.webhook.port
        )
        async with server:
            with pytest.raises(NoWebhookPort, match=f"127.0.0.1:{settings.webhook.port}.*another"):
                async with capturing(settings):
                    pass
        assert Ledger(settings.spool).frames() == {}

    run(scenario)


def test_a_newcomer_takes_the_port_with_the_spool(tmp_path: Path) -> None:
    config = written(tmp_path, {"fills": SIGNED}, per_second=500)
    settings = load(config, ENVIRON)
    signed, spool = Signed(SIGNED_SECRET), settings.spool

    def deliveries(count: int) -> list[Post]:
        return [
            signed.sign(
                {"id": f"e{i}", "items": [{"s": "SPY", "p": i + 1, "q": 1, "t": NOON // 10**6}]},
                time.time_ns(),
            )
            for i in range(count)
        ]

    async def scenario() -> None:
        first = start("capture", "--config", config, cwd=tmp_path, **ENVIRON)
        try:
            await until(lambda: current_owner(spool)[0])
            patience = Patience(tries=300, first_pause_s=0.05, longest_pause_s=0.1)
            sent = deliveries(300)
            posting = asyncio.create_task(
                post_all(url_of(settings, "fills"), sent, patience=patience, at_once=2)
            )
            second = start("capture", "--config", config, "--take-over", cwd=tmp_path, **ENVIRON)
        finally:
            _, said = await asyncio.to_thread(first.communicate, timeout=30)
        try:
            posted = await posting
            assert len(posted.accepted) == len(sent)
            assert (await post_all(url_of(settings, "fills"), deliveries(1))).accepted
        finally:
            second.send_signal(signal.SIGTERM)
            _, told = await asyncio.to_thread(second.communicate, timeout=30)
        assert (first.returncode, second.returncode) == (0, 0), said + told
        assert "took the spool over" in told

    run(scenario)
    prices = Counter(row["price"] for _, row in rows_in(spool))
    assert prices == Counter({float(i + 1): 1 for i in range(300)})
    ledger_adds_up(settings)


def test_a_mapping_that_was_mended_moves_what_it_could_not_read(tmp_path: Path) -> None:
    def feed(price: str) -> dict[str, Any]:
        options = {**SIGNED["options"], "mapping": {**SIGNED["options"]["mapping"], "price": price}}
        sample = SIGNED["options"]["sample"].replace('"p"', f'"{price}"')
        return {**SIGNED, "options": {**options, "sample": sample}}

    async def scenario() -> None:
        settings = settings_for(tmp_path, {"fills": feed("prize")})
        sent = posts(Signed(SIGNED_SECRET), 60)
        async with capturing(settings):
            posted = await post_all(url_of(settings, "fills"), sent)
            assert len(posted.accepted) == len(sent)
        assert rows_in(settings.spool) == []
        mended = settings_for(tmp_path, {"fills": feed("p")})
        for feeds, moved in ((settings.feeds, 0), (mended.feeds, len(sent))):
            done = retry_quarantine(settings.spool, settings.capture, time.time_ns, feeds=feeds)
            assert len(done.moved) == moved
        assert len(rows_in(settings.spool)) == len(sent)
        ledger_adds_up(settings)

    run(scenario)
