"""Who calls a collector and whom it asks, while its disk misbehaves: deliveries, each sent until it
hears 200, and a vendor's REST server that notes when it was asked."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Final, Self

from edc_pipeline.settings import Settings
from edc_pipeline.settings import Webhook as WebhookRules
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.simulator.posting import Patience, Posted, post_all
from edc_pipeline.simulator.rest_server import RestConfig, RestServer
from edc_pipeline.simulator.senders import Post, Signed
from edc_pipeline.transports.budget import PERIOD_S, Limit
from edc_pipeline_tests.capture.calling import SIGNED, SIGNED_SECRET, free_port
from edc_pipeline_tests.capture.test_collector import rows_in

PAIRS: Final = ("EUR/USD", "USD/JPY", "GBP/USD")
_PATIENCE: Final = Patience(tries=10**6, first_pause_s=0.05, longest_pause_s=0.2)
_WAITS_S: Final = 60.0
_A_MINUTE: Final = Limit(18, "minute")


class Outside:
    """In a thread of its own, until the `with` ends.

    Three polled feeds share one budget. Each asks at once when a life begins: of eighteen requests
    a minute, lives of a few seconds would make some thirty if they did not know what the ones
    before them had spent.
    """

    def __init__(self, every_s: float = 10.0, budget: Limit = _A_MINUTE) -> None:
        self.budget = budget
        self._every_s = every_s
        self.posted = Posted()
        self.port = free_port()
        self._sent = 0
        self._no_more = threading.Event()
        self._over = threading.Event()
        self._stands = threading.Event()
        self._server = RestServer(RestConfig(rate=20.0))
        self._asked_ns: list[int] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._be()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._stands.wait(_WAITS_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._no_more.set()
        self._over.set()
        self._thread.join()

    def finish(self) -> None:
        """No more deliveries; returns when every one was heard. A collector has to live."""
        self._no_more.set()
        self._thread.join(_WAITS_S)
        assert not self._thread.is_alive(), "a delivery is never taken"

    def feeds(self, settings: Settings) -> Settings:
        """These settings with a webhook and polled feeds."""
        polled: dict[str, Any] = {
            "vendor": "tiingo",
            "feed": "fx_rest",
            "url": self._server.url,
            "every": self._every_s,
            "hours": "always",
            "budget": {self.budget.per: self.budget.requests},
        }
        more = {f"pair{n}": Feed(**polled, symbols=(pair,)) for n, pair in enumerate(PAIRS)}
        webhook = WebhookRules(port=self.port, per_second=500)
        feeds = {**settings.feeds, **more, "fills": Feed(**SIGNED)}
        return settings.model_copy(update={"feeds": feeds, "webhook": webhook})

    async def _be(self) -> None:
        async with self._server:
            self._stands.set()
            url = f"http://127.0.0.1:{self.port}/fills"
            posting = asyncio.create_task(
                post_all(url, self._deliveries(), patience=_PATIENCE, at_once=2)
            )
            while not (posting.done() or self._over.is_set()):  # noqa: ASYNC110 - a thread's event
                await asyncio.sleep(0.05)
            self._asked_ns = [asked.at_ns for asked in self._server.asked]
            if posting.done():
                self.posted = posting.result()
            posting.cancel()

    def _deliveries(self) -> Iterator[Post]:
        sender = Signed(SIGNED_SECRET)
        while not self._no_more.is_set():
            self._sent += 1
            now = time.time_ns()
            item = {"s": "SPY", "p": self._sent, "q": 1, "t": now // 10**6}
            yield sender.sign({"id": f"e{self._sent}", "items": [item]}, now)

    # What became of it

    def wrong(self, settings: Settings) -> list[str]:
        """In words: what was heard and is not kept, or the reverse; what was asked too often."""
        heard = {float(json.loads(p.body)["items"][0]["p"]) for p in self.posted.accepted}
        rows = [row for _, row in rows_in(settings.spool) if row["vendor"] == "signed_json"]
        kept = {row["price"] for row in rows}
        told = [
            ("deliveries are refused", len(self.posted.refused)),
            ("deliveries heard 200 and are nowhere", len(heard - kept)),
            ("deliveries are kept that nobody sent", len(kept - heard)),
            ("deliveries are twice of one connection", len(rows) - len(_by_connection(rows))),
            (f"requests too many in a {self.budget.per}", self.most - self.budget.requests),
        ]
        return [f"{number} {words}" for words, number in told if number > 0]

    @property
    def asked(self) -> int:
        return len(self._asked_ns)

    @property
    def most(self) -> int:
        """Requests in any one window of the budget's."""
        most, first, window_ns = 0, 0, PERIOD_S[self.budget.per] * 10**9
        for number, at in enumerate(self._asked_ns):
            while at - self._asked_ns[first] >= window_ns:
                first += 1
            most = max(most, number - first + 1)
        return most


def _by_connection(rows: list[dict[str, Any]]) -> set[tuple[str, float]]:
    return {(row["connection"], row["price"]) for row in rows}
