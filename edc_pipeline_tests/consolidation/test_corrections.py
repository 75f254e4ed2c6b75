"""Corrections: the table holds for every vendor, what adapters send is in it, and each word does
what its line says and no more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edc_pipeline
from docs.make_corrections import PAGE, page
from edc_pipeline.consolidation.correction_words import NONE, NOT_APPLIED, WORDS, Effect, effect_of
from edc_pipeline.consolidation.corrections import COLUMNS_NEEDED, corrected
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import NAN, Trade
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

NAMES: Final = {vendor.name: vendor for vendor in VENDORS.values()}
ENTRIES: Final = [(vendor, word) for vendor, words in WORDS.items() for word in words]


def row(vendor: str = "massive", conditions: str = "", **said: Any) -> dict[str, Any]:
    plain = {"feed": "f", "symbol": "SPY", "venue": "", "event_id": "", "price": 1.0, "size": 1.0}
    return {"vendor": vendor, "conditions": conditions, **plain, **said}


def left(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of the rows that stay."""
    columns = {name: [r[name] for r in rows] for name in COLUMNS_NEEDED}
    table = pa.table({**columns, "number": range(len(rows))})
    found: list[int] = corrected(table)["number"].to_pylist()
    return found


# The table


def test_the_page_is_that_of_the_table() -> None:
    """`python -m docs.make_corrections` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()
    for vendor, words in WORDS.items():
        for word, entry in words.items():
            line = f"| {NAMES[vendor].title} | `{word}` | {entry.means} | {entry.effect.value} |"
            assert line in page()


def test_every_vendor_has_words_or_a_reason_why_not() -> None:
    assert set(WORDS) | set(NONE) == set(NAMES)
    assert not set(WORDS) & set(NONE)
    assert set(NOT_APPLIED) <= set(NAMES)
    for vendor, why in NONE.items():
        trades = any("trade" in feed.event_types for feed in NAMES[vendor].feeds.values())
        assert why.startswith("no trades") != trades, vendor
    assert all(entry.evidence for words in WORDS.values() for entry in words.values())


# What adapters send

_IEX: Final = '"2026-01-22T10:00:00.000000001-05:00",1769094000000000001,"spy",'
_PRINT: Final = "null,null,null,null,null,690.1,100,0,0,0,0,0"
_ENVELOPE: Final = '{{"messageType":"{kind}","service":"iex","data":["{row}",{said}]}}'


def _tiingo(kind: str, row_: str) -> tuple[str, str]:
    return "iex", _ENVELOPE.format(kind=kind, row=row_, said=_IEX + _PRINT)


def _past(correction: int) -> tuple[str, str]:
    result = {
        "sip_timestamp": 1769094000000000001,
        "price": 690.1,
        "size": 100,
        "id": "52983525097785",
        "exchange": 4,
        "conditions": [14, 41],
        "correction": correction,
    }
    next_url = "https://api.massive.com/v3/trades/SPY?cursor=x"
    return "stocks", json.dumps({"status": "OK", "results": [result], "next_url": next_url})


FRAMES: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("tiingo", "break"): _tiingo("A", "B"),
    ("tiingo", "deleted"): _tiingo("D", "T"),
    ("tiingo", "updated"): _tiingo("U", "T"),
    ("fmp", "break"): ("stocks", '{"s":"spy","t":1769094000000000100,"type":"B","lp":1,"ls":2}'),
    **{("massive", f"correction:{n}"): _past(n) for n in (1, 7, 8, 10, 11, 12)},
}


@pytest.mark.parametrize(("vendor", "word"), [e for e in ENTRIES if e[0] != "signed_json"])
def test_the_adapter_sends_the_word(vendor: str, word: str) -> None:
    feed, frame = FRAMES[vendor, word]
    decode = VENDORS[vendor].decoder(Subscription(feed, ("SPY",)))
    (trade,) = decode(frame.encode(), OPEN).events
    assert isinstance(trade, Trade)
    assert word in trade.conditions.split()
    assert effect_of(vendor, trade.conditions) is WORDS[vendor][word].effect


def test_a_print_as_it_was_bears_no_word() -> None:
    feed, frame = _past(0)
    (trade,) = VENDORS["massive"].decoder(Subscription(feed, ("SPY",)))(frame.encode(), 1).events
    assert isinstance(trade, Trade)
    assert effect_of("massive", trade.conditions) is None


# What each word does

BY_ID: Final = {
    Effect.TAKES_BACK: [0, 3],  # the print and its copy go, and the row itself
    Effect.REPLACES: [0, 3, 4],
    Effect.RECORD: [0, 1, 2, 3],
}
BY_VALUE: Final = {
    Effect.TAKES_BACK: [0, 2, 3],  # the last print of that price and size before it
    Effect.REPLACES: [0, 1, 2, 3, 4],
    Effect.RECORD: [0, 1, 2, 3],
}


@pytest.mark.parametrize(("vendor", "word"), ENTRIES)
def test_by_id(vendor: str, word: str) -> None:
    of = partial(row, vendor)
    rows = [
        of(event_id="a"),
        of(event_id="b"),
        of(event_id="b", price=2.0),  # the same id, told again with other content
        of(event_id="b", venue="Q"),  # another venue's numbers are its own
        of(f"@ {word}", event_id="b", price=3.0),
    ]
    assert left(rows) == BY_ID[WORDS[vendor][word].effect]
    # Whichever stands first: what was asked for later may lie before what was heard.
    before = left([rows[4], *rows[:4]])
    assert sorted((n - 1) % 5 for n in before) == BY_ID[WORDS[vendor][word].effect]


@pytest.mark.parametrize(("vendor", "word"), ENTRIES)
def test_by_price_and_size(vendor: str, word: str) -> None:
    of = partial(row, vendor)
    rows = [
        of(size=NAN),
        of(),
        of(price=2.0),
        of(symbol="QQQ"),
        of(f"{word} odd_lot"),
        of(),
    ]
    assert left(rows) == [*BY_VALUE[WORDS[vendor][word].effect], 5]
    unsized = [of(size=NAN), of(), of(word, size=NAN)]
    taken = WORDS[vendor][word].effect is Effect.TAKES_BACK
    assert left(unsized)[:2] == ([1] if taken else [0, 1])


@pytest.mark.parametrize("vendor", sorted(set(NAMES) | {"another"}))
def test_a_word_of_another_vendor_does_nothing(vendor: str) -> None:
    """TradingView puts the name of an order there: `strategy break out`."""
    for word in {word for words in WORDS.values() for word in words} - set(WORDS.get(vendor, {})):
        rows = [row(vendor), row(vendor, f"strategy {word} out")]
        assert left(rows) == [0, 1], word


def test_of_several_words_the_one_that_takes_most_away() -> None:
    assert effect_of("tiingo", "updated break odd_lot") is Effect.TAKES_BACK
    assert effect_of("tiingo", "updates breaks") is None
    assert left([row("tiingo"), row("tiingo", "updated break")]) == []


# Any day


_ROWS: Final = st.lists(
    st.builds(
        row,
        st.sampled_from(["massive", "tiingo", "kraken"]),
        st.sampled_from(["", "", "", "@", "break", "updated", "correction:8", "correction:12"]),
        event_id=st.sampled_from(["", "", "a", "b"]),
        price=st.sampled_from([1.0, 2.0]),
        size=st.sampled_from([1.0, NAN]),
    ),
    max_size=12,
)


def by_the_book(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The rule as the page has it, one row after the other."""
    effects = [effect_of(r["vendor"], r["conditions"]) for r in rows]
    gone: set[int] = set()
    for at, told in enumerate(rows):
        same = [n for n, r in enumerate(rows) if all(r[k] == told[k] for k in ("vendor", "feed"))]
        of_id = [n for n in same if told["event_id"] and rows[n]["event_id"] == told["event_id"]]
        naming = [n for n in of_id if effects[n] in (Effect.TAKES_BACK, Effect.REPLACES)]
        if naming and not (effects[naming[-1]] is Effect.REPLACES and at == naming[-1]):
            gone.add(at)
    for at, told in enumerate(rows):
        if effects[at] is Effect.TAKES_BACK and not told["event_id"]:
            agree = [
                n
                for n in range(at)
                if n not in gone
                and effects[n] in (None, Effect.REPLACES)
                and rows[n]["vendor"] == told["vendor"]
                and repr((rows[n]["price"], rows[n]["size"])) == repr((told["price"], told["size"]))
            ]
            gone |= set(agree[-1:])
    gone |= {n for n, e in enumerate(effects) if e in (Effect.TAKES_BACK, Effect.RECORD)}
    return [n for n in range(len(rows)) if n not in gone]


@given(_ROWS)
def test_any_day_is_corrected_by_the_book(rows: list[dict[str, Any]]) -> None:
    assert left(rows) == by_the_book(rows)


def test_a_day_of_massive_heard_live_and_asked_for_later(tmp_path: Path) -> None:
    """As `/v3/trades` gives it: the original, marked, and the record that follows it."""
    print_ = partial(
        event, vendor="massive", feed="stocks", symbol="APP", venue="4", origin="live", size=5000.0
    )
    past = partial(print_, origin="backfill", created_at=OPEN + 10**13)
    live = [
        print_(ts_event=OPEN, event_id="1", price=10.0),
        print_(ts_event=OPEN + 10**6, event_id="56", price=395.885),
        print_(ts_event=OPEN + 2 * 10**6, event_id="62506", price=394.0),
    ]
    later = [
        past(ts_event=OPEN, event_id="1", price=10.0),
        past(ts_event=OPEN + 10**6, event_id="56", price=395.855, conditions="correction:1"),
        past(ts_event=OPEN + 2 * 10**6, event_id="62506", price=394.0, conditions="correction:8"),
        past(ts_event=OPEN + 10**12, event_id="56", price=395.885, conditions="correction:12"),
        past(
            ts_event=OPEN + 2 * 10**12, event_id="62506", price=394.0, conditions="12 correction:10"
        ),
    ]
    write_batches(
        tmp_path / "spool",
        [
            frames([[e] for e in live], "live"),
            frames([[e] for e in later], "asked", first_frame=1000),
        ],
    )
    from_spool = edc_pipeline.read("trade", DAY, corrected=True, data=tmp_path)
    consolidate(tmp_path / "spool", tmp_path / "daily", "trade", DAY)
    for frame in (
        from_spool,
        edc_pipeline.read("trade", DAY, corrected=True, symbols="APP", data=tmp_path),
    ):
        assert frame[["event_id", "price"]].to_numpy().tolist() == [["1", 10.0], ["56", 395.855]]
    assert len(edc_pipeline.read("trade", DAY, data=tmp_path)) == 7
