"""What Binance sends beside trades and book tickers: answers, errors, data that is not wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edc_pipeline.vendors.contract import Reading, control

# By `e`. Of spot, USD-M, COIN-M, options, and the streams of one's own account.
_NOT_WANTED: Final = frozenset(
    {
        *("depthUpdate", "rpiDepthUpdate", "kline", "avgPrice", "referencePrice", "blockTrade"),
        *("24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker", "7dTicker"),
        *("markPriceUpdate", "indexPriceUpdate", "forceOrder", "compositeIndex", "contractInfo"),
        *("continuous_kline", "indexPrice_kline", "markPrice_kline", "assetIndexUpdate"),
        *("tradingSession", "openInterest", "fundingRate", "nav", "insuranceFund"),
        # options
        *("trade_all", "ticker_all", "ticker", "index", "option_pair", "OPTION_PAIR", "markPrice"),
        *("OPTION_CONTRACT", "optionMarkPrice", "depth", "diffDepth", "optionTicker"),
        # one's own account
        *(
            "executionReport",
            "outboundAccountInfo",
            "outboundAccountPosition",
            "balanceUpdate",
            "listStatus",
        ),
        *("ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "TRADE_LITE", "ALGO_UPDATE", "MARGIN_CALL"),
        *("ACCOUNT_CONFIG_UPDATE", "STRATEGY_UPDATE", "GRID_UPDATE", "externalLockUpdate"),
        *("CONDITIONAL_ORDER_TRIGGER_REJECT", "listenKeyExpired", "RISK_LEVEL_CHANGE"),
    }
)
# Said before the vendor ends the connection (spot, some ten minutes before).
_ENDS: Final = frozenset({"serverShutdown", "eventStreamTerminated"})

_DETAIL_LENGTH: Final = 200


def read_other(message: Mapping[str, Any]) -> Reading | None:
    """None: Binance documents nothing like it."""
    kind = message.get("e")
    if isinstance(kind, str):
        if kind in _ENDS:
            return control("ending", kind)
        return control("not_wanted", kind) if kind in _NOT_WANTED else None
    if "error" in message or ("code" in message and "msg" in message):
        return control("refused", _told(message))
    if "id" in message and "result" in message:
        # A list or a property where those were asked for; null: done.
        settled = message["result"] is None
        return control("acknowledged" if settled else "notice", f"request {message['id']}"[:50])
    if isinstance(message.get("bids"), list) and isinstance(message.get("asks"), list):
        return control("not_wanted", "order book")  # partial depth of spot bears no type
    if "openInterest" in message:
        return control("not_wanted", "open interest")
    return None


def _told(message: Mapping[str, Any]) -> str:
    """`{"code","msg","id"}`, or the same within `error`."""
    error = message.get("error")
    said = error if isinstance(error, Mapping) else message
    request = message.get("id")
    text = f"{said.get('code', '')} {said.get('msg', '')}".strip() or str(error)
    return (text if request is None else f"request {request}: {text}")[:_DETAIL_LENGTH]
