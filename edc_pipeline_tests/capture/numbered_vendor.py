"""A made vendor that numbers its messages, and a server that sends what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from edc_pipeline.events import AnyEvent, Quote, Trade
from edc_pipeline.vendors.contract import (
    Decode,
    FeedSpec,
    IdentityRule,
    Reading,
    SequenceRule,
    Subscription,
    Vendor,
    control,
    quarantined,
)


def message(kind: str, symbol: str, seq: int, **more: Any) -> str:
    """`kind` T or Q; `frame=` numbers the frame itself."""
    return json.dumps({"k": kind, "s": symbol, "n": seq, **more})


def _decode(frame: bytes, received_at: int) -> Reading:
    try:
        said = json.loads(frame)
        kind, number = said["k"], said.get("frame", -1)
    except (ValueError, KeyError, TypeError, AttributeError):
        return quarantined("not a message")
    if kind in {"ack", "beat"}:
        answer = control("acknowledged" if kind == "ack" else "heartbeat")
        answer.seq = number
        return answer
    common: dict[str, Any] = {
        "ts_event": received_at, "symbol": said["s"], "asset_class": "crypto", "vendor": "made",
        "feed": "numbered", "seq": said["n"], "created_at": received_at,
    }  # fmt: skip
    event: AnyEvent = (
        Trade(price=said.get("p", 1.0), size=1.0, **common)
        if kind == "T"
        else Quote(bid_price=1.0, bid_size=1.0, ask_price=2.0, ask_size=1.0, **common)
    )
    return Reading(events=[event], seq=number)


class Session:
    def __init__(self) -> None:
        self.acknowledged = False

    def opening(self) -> Sequence[str]:
        return ["hello"]

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = _decode(frame, received_at)
        if reading.control is not None and reading.control.kind == "acknowledged":
            self.acknowledged = True
        return reading


def _decoder(_: Subscription) -> Decode:
    return _decode


def made_vendor(*rules: SequenceRule, acknowledges_within_s: float | None = None) -> Vendor:
    rule = IdentityRule("counted", "s, n")
    return Vendor(
        name="made",
        title="Made",
        feeds={
            "numbered": FeedSpec(
                name="numbered",
                title="numbered",
                url="ws://127.0.0.1:1/",
                asset_class="crypto",
                event_types=("trade", "quote"),
                identity={"trade": rule, "quote": rule},
                check_options=lambda _: [],
                sequence=rules,
                acknowledges_within_s=acknowledges_within_s,
            )
        },
        decoder=_decoder,
        open_session=lambda _asked, _key: Session(),
        check_symbol=lambda _feed, _symbol: None,
        spell=lambda _feed, symbol: symbol,
        symbol_of=lambda _feed, symbol: symbol,
    )


Script = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def serving(*connections: Script) -> AsyncIterator[str]:
    """The address of a server that plays one script on each connection, and then the last."""
    served = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal served
        served += 1
        await connection.recv()  # the client's hello
        await connections[min(served, len(connections)) - 1](connection)

    async with serve(handle, "127.0.0.1", 0, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/"


def sends(*messages: str, then_s: float = 60.0) -> Script:
    async def script(connection: ServerConnection) -> None:
        for each in messages:
            await connection.send(each)
        with suppress(TimeoutError):
            await asyncio.wait_for(connection.wait_closed(), then_s)

    return script
