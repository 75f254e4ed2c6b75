"""A collector with webhook feeds, as `edc capture` has them, and callers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from edc_pipeline.capture.collector import Collector
from edc_pipeline.settings import Settings, load
from edc_pipeline_tests.capture.test_collector import running, until

TRADINGVIEW_SECRET = "hush-tradingview-0123"
SIGNED_SECRET = "hush-signed-456789ab"
FINNHUB_SECRET = "hush-finnhub-0123456"
ENVIRON = {
    "EDC_FINNHUB_SECRET": FINNHUB_SECRET,
    "EDC_TRADINGVIEW_SECRET": TRADINGVIEW_SECRET,
    "EDC_SIGNED_JSON_SECRET": SIGNED_SECRET,
}

ALERTS: dict[str, Any] = {
    "vendor": "tradingview",
    "feed": "alerts",
    "all_symbols": True,
    "options": {"sources": []},
}
POSTS: dict[str, Any] = {"vendor": "finnhub", "feed": "webhook", "all_symbols": True}
SIGNED: dict[str, Any] = {
    "vendor": "signed_json",
    "feed": "events",
    "all_symbols": True,
    "options": {
        "verify": {"prefix": "sha256=", "signed": "{timestamp}.{body}"},
        "idempotency": {"path": "id"},
        "mapping": {
            "each": "items[]",
            "event_type": {"value": "trade"},
            "symbol": {"path": "s", "values": {"BRKB": "BRK.B", "BTCUSD": "BTC/USD"}},
            "ts_event": {"path": "t", "unit": "ms"},
            "price": "p",
            "size": "q",
        },
        "sample": '{"items": [{"s": "SPY", "p": "480.5", "q": 3, "t": 1769092200123}]}',
    },
}


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def written(tmp_path: Path, feeds: Mapping[str, Any], **webhook: Any) -> Path:
    """feeds.yaml with these feeds, on a free port."""
    path = tmp_path / "feeds.yaml"
    tree = {
        "data_dir": str(tmp_path / "data"),
        "feeds": dict(feeds),
        "webhook": {"port": free_port(), **webhook},
        "capture": {"horizon_days": 36_500},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def settings_for(tmp_path: Path, feeds: Mapping[str, Any], **webhook: Any) -> Settings:
    return load(written(tmp_path, feeds, **webhook), ENVIRON)


def url_of(settings: Settings, feed: str) -> str:
    return f"http://127.0.0.1:{settings.webhook.port}/{feed}"


@asynccontextmanager
async def capturing(settings: Settings, name: str = "c1") -> AsyncIterator[Collector]:
    async with running(Collector(settings, name)) as (collector, run):
        await until(lambda: run.done() or all(f.connections for f in collector.report().feeds))
        yield collector


async def post(url: str, body: bytes, **headers: str) -> tuple[int, Mapping[str, str], str]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        return answer.status, answer.headers, await answer.text()
