"""Any signed JSON: mappings, what is wrong with one told before start, and proofs against a sender
written from the scheme alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.events import Trade
from edc_pipeline.settings import SettingsMistakes, load
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Delivery, Reading, Subscription

VENDOR = VENDORS["signed_json"]
FEED = VENDOR.feeds["events"]
AT = 1_790_000_000_000_000_001
NOW_S = 1_790_000_000
SECRET = "hush-0123456789abcdef"
TRADES: dict[str, Any] = {
    "each": "data[?kind=='fill'].item",
    "event_type": {"value": "trade"},
    "symbol": {"path": "s", "values": {"XBTUSD": "BTC/USD"}},
    "ts_event": {"path": "t", "unit": "ms"},
    "price": "px || last",
    "size": "q",
    "side": {"path": "d", "values": {"B": "buy", "S": "sell", "1": "buy"}},
    "conditions": "join(' ', c || `[]`)",
}


def read(body: Any, mapping: Any = None, **asked: Any) -> Reading:
    options = {"mapping": mapping} if mapping else {}
    frame = body if isinstance(body, bytes) else json.dumps(body).encode()
    return VENDOR.decoder(Subscription("events", options=options, **asked))(frame, AT)


def fill(**item: Any) -> dict[str, Any]:
    whole = {"s": "XBTUSD", "t": 1769092200123, "px": "43000.5", "q": 1, "d": "B"} | item
    return {"data": [{"kind": "note", "item": {}}, {"kind": "fill", "item": whole}]}


def test_a_mapping_reads_any_json() -> None:
    (event,) = read(fill(c=["a", "b"]), TRADES).events
    assert isinstance(event, Trade)
    assert (event.symbol, event.asset_class, event.event_type) == ("BTC/USD", "crypto", "trade")
    assert (event.ts_event, event.price, event.size) == (1769092200123000000, 43000.5, 1.0)
    assert (event.side, event.conditions) == ("buy", "a b")


@pytest.mark.parametrize(
    ("unit", "value", "ns"),
    [
        ("s", 1769092200, 1769092200_000000000),
        ("s", "1769092200.123456789", 1769092200_123456789),
        ("s", 1769092200.123456, 1769092200_123456000),
        ("ms", 1769092200123, 1769092200_123000000),
        ("us", "1769092200123456", 1769092200_123456000),
        ("ns", 1769092200123456789, 1769092200_123456789),
        ("iso", "2026-01-22T14:30:00.123456789Z", 1769092200_123456789),
    ],
)
def test_times_are_exact_in_every_unit(unit: str, value: Any, ns: int) -> None:
    mapping = {**TRADES, "ts_event": {"path": "t", "unit": unit}}
    (event,) = read(fill(t=value), mapping).events
    assert (event.ts_event, event.ts_source) == (ns, "vendor")


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"px": None}, "price: px || last gives no price"),
        ({"px": "NaN"}, "price: px || last gives 'NaN', no number"),
        ({"q": "many"}, "size: q gives 'many', no number"),
        ({"t": None}, "ts_event: t gives None, no time"),
        ({"t": "soon"}, "ts_event: t gives 'soon', no time"),
        ({"t": 1769092200123456789}, "outside the years 1677 to 2262; is the unit right?"),
        ({"d": "X"}, "side: d gives 'X', not buy or sell"),
        ({"s": 5}, "symbol: s gives 5, no symbol"),
        ({"c": 7}, "conditions: join(' ', c || `[]`)"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_path(item: dict[str, Any], words: str) -> None:
    reading = read(fill(**item), TRADES)
    assert reading.outcome == "quarantined"
    assert words in reading.faults[0]


def test_one_bad_item_does_not_cost_the_others() -> None:
    both = {"data": [*fill()["data"], *fill(px="x")["data"]]}
    reading = read(both, TRADES)
    assert len(reading.events) == len(reading.faults) == 1


def test_a_renamed_key_is_no_silence() -> None:
    assert read({"items": []}, TRADES).faults == ["each: data[?kind=='fill'].item gives nothing"]
    assert read({"data": []}, TRADES).outcome == "control"


def test_several_mappings_read_one_body() -> None:
    quotes = {
        "each": "book",
        "event_type": {"value": "quote"},
        "symbol": "s",
        "bid_price": "b[0]",
        "ask_price": "a[0]",
    }
    body = {**fill(), "book": {"s": "SPY", "b": [480.1, 5], "a": [480.2, 7]}}
    found = read(body, [TRADES, quotes]).events
    assert [e.event_type for e in found] == ["trade", "quote"]


def test_a_mapping_that_is_none_any_more_quarantines() -> None:
    reading = read(fill(), {"symbol": "s["})
    assert reading.outcome == "quarantined"
    assert "mapping.symbol" in reading.faults[0]


def test_a_symbol_that_was_not_asked_for_is_quarantined() -> None:
    assert read(fill(), TRADES, symbols=("BTC/USD",)).events
    assert "none of the feed's symbols" in read(fill(), TRADES, symbols=("SPY",)).faults[0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("stpqdck"), inner),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_quarantined(item: Any) -> None:
    for body in ({"data": [{"kind": "fill", "item": item}]}, {"data": item}, item):
        reading = read(body, TRADES)
        assert reading.events or reading.faults or reading.control


# What is wrong is told before start


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mapping": {"event_type": {"value": "trade"}, "symbol": "s["}}, "no JMESPath expression"),
        ({"mapping": {**TRADES, "prize": "p"}}, "no column 'prize'"),
        ({"mapping": {"symbol": "s"}}, "event_type is missing"),
        ({"mapping": {**TRADES, "ts_event": {"path": "t", "unit": "days"}}}, "unit = 'days'"),
        ({"mapping": {**TRADES, "price": {"path": "p", "value": 1}}}, "path or value"),
        ({"mapping": {**TRADES, "price": 1}}, "fixed value is {value: 1}"),
        ({"mapping": TRADES}, "sample: give a body"),
        ({"mapping": TRADES, "sample": "{}"}, "sample: each: data[?kind=='fill'].item gives"),
        ({"mapping": TRADES, "sample": fill(px="x")}, "sample: price: px || last gives 'x'"),
        ({"mapping": TRADES, "sample": {"data": []}}, "sample: the mapping finds no event"),
        ({"mapping": TRADES, "sample": "not json"}, "sample: not JSON"),
        ({"verify": {"scheme": "md5"}}, "verify.scheme = 'md5'"),
        ({"verify": {"heder": "x"}}, "hmac_sha256 has no 'heder'"),
        ({"verify": {"encoding": "hexa"}}, "must be hex or base64"),
        ({"verify": {"signed": "{timestamp}"}}, "must hold {body} once"),
        ({"verify": {"timestamp_header": "T"}}, "proves nothing outside the signed text"),
        ({"verify": {"header": 5}}, "verify.header = 5: text is needed"),
        ({"verify": {"scheme": "sha256_fields"}}, "name the fields"),
        ({"idempotency": {"pth": "id"}}, "idempotency: {path: id}"),
        ({"idempotency": {"path": "a["}}, "is no JMESPath expression"),
        ({"sources": "1.2.3.4"}, "a list of addresses"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_at_start(options: dict[str, Any], words: str) -> None:
    (mistake,) = FEED.check_options(options)
    assert words in mistake


def test_the_settings_name_the_line_of_the_feed(tmp_path: Path) -> None:
    path = tmp_path / "feeds.yaml"
    options = {"mapping": TRADES, "sample": fill(px="x")}
    feed = {"vendor": "webhook", "feed": "events", "all_symbols": True, "options": options}
    path.write_text(json.dumps({"feeds": {"mine": feed}}))
    with pytest.raises(SettingsMistakes, match=r"line 1: feeds\.mine: .*sample: price: px"):
        load(path, {})
    feed["options"] = {"mapping": TRADES, "sample": fill()}
    path.write_text(json.dumps({"feeds": {"mine": feed}}))
    settings = load(path, {"EDC_SIGNED_JSON_SECRET": SECRET})
    assert settings.missing_secrets() == []
    assert settings.feeds["mine"].vendor == "signed_json"


# Proofs


def verify(options: dict[str, Any], body: bytes, path: str = "", **headers: str) -> str | None:
    webhook = FEED.webhook
    assert webhook is not None
    told = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    call = Delivery(body, told, "1.2.3.4", path=path)
    return webhook.verify(call, SECRET, NOW_S * 10**9, {"verify": options})


def mac(text: bytes) -> bytes:
    return hmac.new(SECRET.encode(), text, hashlib.sha256).digest()


def test_the_signature_is_over_the_raw_bytes() -> None:
    body = b'{ "a":1 }\n'
    assert verify({}, body, x_signature=mac(body).hex()) is None
    assert verify({}, body, x_signature=mac(body).hex().upper()) is None
    assert verify({}, b'{"a":1}', x_signature=mac(body).hex()) == "wrong signature"
    assert verify({}, body, x_signature="") == "no signature"
    assert verify({}, body) == "no signature"
    assert verify({}, body, x_signature="\udcff") == "wrong signature"
    in64 = {"encoding": "base64", "header": "Sig", "prefix": "v1,"}
    assert verify(in64, body, sig="v1," + base64.b64encode(mac(body)).decode()) is None
    assert verify(in64, body, sig=base64.b64encode(mac(body)).decode()) == "no signature"


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        (str(NOW_S), None),
        (str(NOW_S - 300), None),
        (str(NOW_S + 300), None),
        (str(NOW_S - 301), "stale time stamp"),
        (str(NOW_S + 301), "stale time stamp"),
        (str(NOW_S * 1000), "stale time stamp"),
        ("1e999999", "stale time stamp"),
        ("-1e-999999", "stale time stamp"),
        ("NaN", "no time stamp"),
        ("inf", "no time stamp"),
        ("soon", "no time stamp"),
        ("", "no time stamp"),
    ],
)
def test_a_stamp_counts_inside_the_signed_text_and_for_five_minutes(
    stamp: str, said: str | None
) -> None:
    rules = {"signed": "v0:{timestamp}:{body}", "timestamp_header": "T"}
    body = b"{}"
    good = mac(b"v0:" + stamp.encode() + b":" + body).hex()
    assert verify(rules, body, x_signature=good, t=stamp) == said
    if said is None:
        moved = str(int(stamp) + 1)
        assert verify(rules, body, x_signature=good, t=moved) == "wrong signature"


def test_other_proofs() -> None:
    assert verify({"scheme": "secret_header", "header": "Key"}, b"", key=SECRET) is None
    assert verify({"scheme": "secret_header"}, b"", x_secret="no") == "wrong secret"
    assert verify({"scheme": "secret_path"}, b"", path=SECRET) is None
    assert verify({"scheme": "secret_path"}, b"", path="") == "no secret"
    kite = {"scheme": "sha256_fields", "fields": ["order_id", "order_timestamp"]}
    text = "1512" + "2026-01-22 09:30:00" + SECRET
    order = {"order_id": "1512", "order_timestamp": "2026-01-22 09:30:00"}
    good = {**order, "checksum": hashlib.sha256(text.encode()).hexdigest()}
    assert verify(kite, json.dumps(good).encode()) is None
    assert verify(kite, json.dumps({**good, "order_id": "9"}).encode()) == "wrong signature"
    assert verify(kite, json.dumps(order).encode()) == "no signature"
    for strange in (b"", b"[]", b"null", b'"x"', b"[" * 9999):
        assert verify(kite, strange) == "no signature"
