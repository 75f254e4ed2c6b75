"""What capture is compared with. Each reads the benchmark's server to its end and prints the CPU
time it took per event, user and system, from the first frame until all is in its file.

plain       websockets + json + pydantic + an asyncio.Queue item per event + pandas to_parquet,
            with the columns that ours has
cryptofeed  its Binance reader with a callback that does nothing: nothing is stored

    python benchmarks/capture_plain.py plain|cryptofeed URL STYLE EVENTS FOLDER

A script of its own, importing nothing of ours: cryptofeed may live in another environment.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
import time
from pathlib import Path
from typing import Any

from capture_styles import STYLES
from websockets import connect

ROWS_A_FILE = 100_000


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def plain(url: str, style_name: str, count: int, folder: str) -> float:
    import pandas as pd  # noqa: PLC0415
    from pydantic import BaseModel  # noqa: PLC0415

    class Event(BaseModel):
        ts_event: int
        ts_source: str = "vendor"
        symbol: str
        asset_class: str
        vendor: str
        feed: str
        venue: str = ""
        event_id: str = ""
        seq: int = -1
        occurrence: int = 0
        origin: str = "live"
        status: str = "LIVE"
        created_at: int
        price: float | None = None
        size: float | None = None
        bid: float | None = None
        bid_size: float | None = None
        ask: float | None = None
        ask_size: float | None = None

    def write(rows: list[dict[str, Any]], number: int) -> None:
        pd.DataFrame(rows).to_parquet(Path(folder) / f"{number}.parquet")

    async def drain() -> None:
        rows: list[dict[str, Any]] = []
        for number in range(count):
            rows.append((await queue.get()).model_dump())
            if len(rows) >= ROWS_A_FILE:
                full, rows = rows, []
                await asyncio.to_thread(write, full, number)
        await asyncio.to_thread(write, rows, count)

    write([{"ts_event": 1}], -1)  # what is imported at first use is not measured
    style = STYLES[style_name]
    parse, rows_of, fields_of = style.parse, style.rows, style.plain
    labels = {"asset_class": "equity", "vendor": style.vendor, "feed": style.feed}
    queue: asyncio.Queue[Event] = asyncio.Queue(100_000)
    draining = asyncio.create_task(drain())
    async with connect(url, ssl=ssl.create_default_context(), compression=None) as socket:
        began_s, left = 0.0, count
        async for message in socket:
            began_s = began_s or cpu_s()
            at = time.time_ns()
            for row in rows_of(parse(message)):
                await queue.put(Event(**labels, **fields_of(row, at)))
                left -= 1
            if not left:
                break
        await draining
        return (cpu_s() - began_s) / count


async def cryptofeed(url: str, _style: str, count: int, _folder: str) -> float:
    from cryptofeed.defines import TRADES  # noqa: PLC0415
    from cryptofeed.exchanges import Binance  # noqa: PLC0415
    from cryptofeed.symbols import Symbols  # noqa: PLC0415

    async def nothing(_trade: Any, _receipt: float) -> None: ...

    # Told beforehand, or it would ask the exchange.
    Symbols.set(Binance.id, {"BTC-USDT": "BTCUSDT"}, {"instrument_type": {}})
    feed = Binance(symbols=["BTC-USDT"], channels=[TRADES], callbacks={TRADES: nothing})
    async with connect(url, ssl=ssl.create_default_context(), compression=None) as socket:
        began_s, left = 0.0, count
        # Its own read loop: one message, one call, one stamp.
        async for message in socket:
            began_s = began_s or cpu_s()
            await feed.message_handler(message, None, time.time())
            left -= 1
            if not left:
                return (cpu_s() - began_s) / count
    raise RuntimeError("the server ended too early")


def main() -> None:
    who, url, style, count, folder = sys.argv[1:]
    used_s = asyncio.run(
        {"plain": plain, "cryptofeed": cryptofeed}[who](url, style, int(count), folder)
    )
    print(json.dumps({"cpu_us": used_s * 1e6}))


if __name__ == "__main__":
    main()
