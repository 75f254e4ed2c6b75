"""Finnhub's webhook: `{"event": …, "data": […]}`, and the shared secret in X-Finnhub-Secret.

It wants any 2xx at once. The secret is not the key of the API; it stands in EDC_FINNHUB_SECRET.

Assumed where the documentation is unsure: an event of kind `trade` brings trades as the websocket
does; every other kind is none of ours, and counted. Nothing tells a delivery from the same one sent
again but its body: where that bears times, the same body within ten minutes is the same delivery,
as the websocket has been seen to bring one frame up to three times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from edc_pipeline.vendors.contract import Delivery, FeedSpec, IdentityRule, Webhook
from edc_pipeline.vendors.proof import check_secret, digest_of

_HEADER: Final = "x-finnhub-secret"
_TIMED: Final = re.compile(rb'"t"\s*:\s*[1-9]')


def _verify(call: Delivery, secret: str, _now_ns: int, _options: Mapping[str, Any]) -> str | None:
    return check_secret(call.headers.get(_HEADER), secret)


def _idempotency_keys(call: Delivery, _: Mapping[str, Any]) -> Sequence[str]:
    return [digest_of(call.body)] if _TIMED.search(call.body) else []


def webhook_feed(check_options: Callable[[Mapping[str, Any]], list[str]]) -> FeedSpec:
    return FeedSpec(
        name="webhook",
        title="trades that Finnhub posts to us",
        url="",
        asset_class="equity",
        event_types=("trade",),
        identity={"trade": IdentityRule("counted", "s, t, p, v, c")},
        check_options=check_options,
        options_help="crypto_exchange, fx_broker: whose pairs",
        webhook=Webhook(
            verify=_verify,
            idempotency_keys=_idempotency_keys,
            secret="EDC_FINNHUB_SECRET",  # noqa: S106 - the variable's name, not its value
        ),
    )
