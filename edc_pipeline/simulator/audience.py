"""Who listens to an exchange: let in, heard, and sent to, each by a session of its own."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from edc_pipeline.simulator.connection import Connection
from edc_pipeline.simulator.exchange_config import ExchangeConfig
from edc_pipeline.simulator.faults import Trouble
from edc_pipeline.simulator.session import Asked, Vendor
from edc_pipeline.simulator.truth import Truth

_HEARTBEAT_S: Final = 30.0  # of a vendor that has no custom of its own
_HISTORIES: Final = 64  # subscriptions whose last frames are kept for a resend


class Audience:
    """`broken` is told of a sender's error that is not its client's doing."""

    def __init__(
        self,
        config: ExchangeConfig,
        vendor: Vendor,
        *,
        trouble: Trouble,
        truth: Truth,
        now_ns: Callable[[], int],
        broken: Callable[[BaseException], None],
    ) -> None:
        self.present: dict[tuple[str, int], Connection] = {}  # by service and ordinal
        self.changed = asyncio.Event()  # an outbox ran empty, somebody came or went
        self._config = config
        self._vendor = vendor
        self._trouble = trouble
        self._truth = truth
        self._now_ns = now_ns
        self._broken = broken
        usual_s: float = getattr(vendor, "heartbeat_s", _HEARTBEAT_S)
        self._heartbeat_s = usual_s if config.heartbeat_s is None else config.heartbeat_s
        self._histories: OrderedDict[Hashable, deque[str | bytes]] = OrderedDict()

    @property
    def listening(self) -> int:
        return sum(c.listening for c in self.present.values())

    def backlog_above(self, frames: int) -> bool:
        """Does more than that wait to be sent to anyone?"""
        return any(c.backlog > frames for c in self.present.values())

    def admit(self, websocket: ServerConnection, request: Request) -> Response | None:
        asked = _asked(request)
        if self._service(asked.path) is None:
            paths = ", ".join(self._vendor.paths)
            answer = f"no {asked.path} here; there are {paths}\n"
            return websocket.respond(HTTPStatus.NOT_FOUND, answer)
        if (status := self._trouble.refusal() or self._vendor.refusal(asked)) is not None:
            return websocket.respond(status, f"{status.phrase}\n")
        if len(self.present) >= self._config.max_connections:
            return websocket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
        return None

    def _service(self, path: str) -> str | None:
        exact = self._vendor.paths.get(path)
        return exact or next(
            (s for p, s in self._vendor.paths.items() if p.endswith("/") and path.startswith(p)),
            None,
        )

    async def attend(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        here = [c.session for c in self.present.values() if not c.gone]
        asked = dataclasses.replace(_asked(websocket.request), standing=here)
        service = self._service(asked.path)
        assert service is not None
        self._truth.connections[service] += 1
        # Counted by service: which of three clients comes first must not change what each is sent.
        ordinal = self._truth.connections[service]
        connection = Connection(
            websocket,
            self._vendor.session(service, ordinal, asked),
            self._trouble.line(service, ordinal),
            ordinal=ordinal,
            truth=self._truth,
            outbox_frames=self._config.outbox_frames,
            when_slow=self._config.when_slow,
            now_ns=self._now_ns,
            changed=self.changed,
        )
        self.present[service, ordinal] = connection
        for reply in connection.session.greeting():
            connection.reply(reply)
        for one in self.present.values():
            if one.session.refused:  # the newcomer, or one who had to make room
                one.refuse()
        tasks = [
            asyncio.create_task(connection.send_all(), name=f"send-{service}-{ordinal}"),
            asyncio.create_task(self._beat(connection), name=f"beat-{service}-{ordinal}"),
            asyncio.create_task(self._end_of_term(connection), name=f"end-{service}-{ordinal}"),
        ]
        tasks[0].add_done_callback(self._notice)
        try:
            with suppress(ConnectionClosed):
                async for message in websocket:
                    self._converse(connection, message)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            connection.left()
            del self.present[service, ordinal]

    def _notice(self, sender: asyncio.Task[None]) -> None:
        if not sender.cancelled() and (error := sender.exception()):
            self._broken(error)

    def _converse(self, connection: Connection, message: str | bytes) -> None:
        before = connection.session.subscription
        for reply in connection.session.on_message(message):
            connection.reply(reply)
        if connection.session.refused:
            connection.refuse()
        subscription = connection.session.subscription
        if subscription is not None and subscription != before:
            if self._config.resend_on_subscribe:
                self._resend(connection, subscription, is_new=before is None)
            self.changed.set()

    def _resend(self, connection: Connection, subscription: Hashable, *, is_new: bool) -> None:
        """Some vendors repeat the last frames to a client that comes back."""
        history = self._histories.pop(subscription, None)
        if history is None:
            history = deque(maxlen=self._config.resend_on_subscribe)
        self._histories[subscription] = history
        while len(self._histories) > _HISTORIES:
            self._histories.popitem(last=False)
        shared = any(c.history is history and not c.gone for c in self.present.values())
        connection.history = history
        if is_new and not shared:  # while another connection has it, this is no return
            connection.again(list(history))

    async def _beat(self, connection: Connection) -> None:
        while not connection.gone:
            await asyncio.sleep(self._heartbeat_s)
            connection.heartbeat()

    async def _end_of_term(self, connection: Connection) -> None:
        if self._config.ends_after_s is not None:
            await asyncio.sleep(self._config.ends_after_s)
            connection.end_term()


def _asked(request: Request) -> Asked:
    path, _, query = request.path.partition("?")
    return Asked(path, dict(parse_qsl(query)))
