"""From any JSON to our columns, as feeds.yaml says: one JMESPath expression a column.

    mapping:
      each: data[]                                  # what one event is made of; default: all, @
      event_type: { value: trade }                  # a fixed value
      asset_class: { value: crypto }
      symbol: { path: s, values: { XBTUSD: BTC/USD } }   # rewritten where it is one of these
      ts_event: { path: t, unit: ms }               # s, ms, us, ns, or iso; optional: true takes
                                                    # the receive time where there is none
      price: p                                      # an expression alone
      size: v

A list of mappings reads each in turn. Without one, JSON in our own columns' names is read, one
event, with `ts_event` in ISO 8601.

JMESPath and not JSONPath: an expression has one value, not a list of places, it has functions
(`join`, `to_number`, `||` for a default), and its whole grammar comes with a suite of tests that
every library has to pass; `jmespath` is the one of the AWS clients.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import jmespath
import jmespath.exceptions
import msgspec
from jmespath.parser import ParsedResult

from edc_pipeline.events import (
    ASSET_CLASSES,
    COLUMNS,
    EVENT_CLASSES,
    EVENT_TYPES,
    NAN,
    AnyEvent,
    AssetClass,
    EventType,
)
from edc_pipeline.vendors.contract import Reading, Subscription, control, quarantined
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.proof import STAMP_UNITS

VENDOR_NAME: Final = "signed_json"
_OURS: Final = frozenset({"vendor", "feed", "ts_source", "created_at", "occurrence", "status"})
_NOT_MAPPED: Final = _OURS | {"origin"}
_MAPPED: Final = tuple(
    dict.fromkeys(c.name for t in EVENT_TYPES for c in COLUMNS[t] if c.name not in _NOT_MAPPED)
)
_KEYS: Final = ("each", "event_type", *_MAPPED)
_SPEC_KEYS: Final = ("path", "value", "values", "unit", "optional")
_UNITS: Final = (*STAMP_UNITS, "iso")
_NUMBERS: Final = frozenset(
    c.name for t in EVENT_TYPES for c in COLUMNS[t] if c.stored == "float64"
)
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_SIDES: Final = frozenset({"buy", "sell", ""})
# What an expression does over values it was not made for.
_FAILS: Final = (
    jmespath.exceptions.JMESPathError,
    *(ArithmeticError, AttributeError, RecursionError, TypeError, ValueError),
)
_MOST_EVENTS: Final = 10_000
# The price that an event of each type can't be without.
_NEEDED: Final[Mapping[EventType, tuple[str, ...]]] = {
    "trade": ("price",),
    "quote": ("bid_price", "ask_price"),
    "ref_px": ("price",),
}


class BadMapping(ValueError):
    """The mapping itself is wrong; the message says where and how, a line each."""


class Fault(ValueError):
    """This can't be an event; the message names the expression and the value."""


@dataclass(frozen=True, slots=True)
class _Column:
    """Where one column comes from."""

    name: str
    path: str = ""  # empty: `value` is meant
    value: Any = None
    values: Mapping[str, Any] = field(default_factory=dict)
    unit: str = "iso"
    optional: bool = False
    expression: ParsedResult | None = None

    def of(self, row: Any) -> Any:
        if self.expression is None:
            return self.value
        try:
            found = self.expression.search(row)
        except _FAILS as error:
            raise Fault(f"{self.name}: {self.path}: {error}") from None
        if self.values and isinstance(found, str | int | float):
            return self.values.get(str(found), found)
        return found

    def wrong(self, value: Any, why: str) -> Fault:
        where = self.path or "value"
        return Fault(f"{self.name}: {where} gives {_shown(value)}, {why}")


@dataclass(frozen=True, slots=True)
class EventMapping:
    """One mapping, compiled."""

    each: ParsedResult
    each_path: str
    columns: Mapping[str, _Column]

    def events(self, body: Any, asked: Subscription, received_at: int, faults: list[str]) -> Any:
        """The events; None where `each` gives nothing at all, so that a renamed key is noticed."""
        try:
            rows = self.each.search(body)
        except _FAILS as error:
            faults.append(f"each: {self.each_path}: {error}")
            return None
        if rows is None:
            return None
        events = []
        for row in (rows if isinstance(rows, list) else [rows])[:_MOST_EVENTS]:
            try:
                events.append(self._event(row, asked, received_at))
            except (Fault, RecursionError) as error:
                faults.append(str(error))
        if isinstance(rows, list) and len(rows) > _MOST_EVENTS:
            faults.append(f"{len(rows)} events, at most {_MOST_EVENTS} are read")
        return events

    def _event(self, row: Any, asked: Subscription, received_at: int) -> AnyEvent:
        found = {name: column.of(row) for name, column in self.columns.items()}
        event_type = self._one_of("event_type", found, EVENT_TYPES)
        symbol = self._symbol(found, asked)
        columns: dict[str, Any] = {}
        for column in COLUMNS[event_type]:
            name = column.name
            if name in _NUMBERS:
                columns[name] = self._number(name, found.get(name))
            elif name in self.columns and name not in {"symbol", "asset_class", "ts_event"}:
                columns[name] = self._plain(name, found.get(name), column.stored)
        if columns.get("side", "") not in _SIDES:
            raise self.columns["side"].wrong(found["side"], "not buy or sell")
        if all(math.isnan(columns[name]) for name in _NEEDED[event_type]):
            first = _NEEDED[event_type][0]
            raise Fault(f"{first}: {self._path(first)} gives no price")
        if event_type == "ref_px":
            columns["kind"] = columns.get("kind") or "reference"
        asset_class = asked.asset_classes.get(symbol) or self._asset_class(found, symbol)
        ts_event, ts_source = self._time(found.get("ts_event"), received_at)
        return EVENT_CLASSES[event_type](
            ts_event=ts_event,
            ts_source=ts_source,
            symbol=symbol,
            asset_class=asset_class,
            vendor=VENDOR_NAME,
            feed=asked.feed or "events",
            created_at=received_at,
            **columns,
        )

    def _path(self, name: str) -> str:
        column = self.columns.get(name)
        return column.path if column else f"(no {name} is mapped)"

    def _one_of(self, name: str, found: Mapping[str, Any], allowed: Sequence[str]) -> Any:
        value = found.get(name)
        if value not in allowed:
            column = self.columns.get(name, _Column(name, "(not mapped)"))
            raise column.wrong(value, f"not one of {', '.join(allowed)}")
        return value

    def _asset_class(self, found: Mapping[str, Any], symbol: str) -> AssetClass:
        if found.get("asset_class") is None:
            return "crypto" if "/" in symbol else "equity"
        known: AssetClass = self._one_of("asset_class", found, ASSET_CLASSES)
        return known

    def _symbol(self, found: Mapping[str, Any], asked: Subscription) -> str:
        value = found.get("symbol")
        if not isinstance(value, str) or not value.strip():
            raise self.columns.get("symbol", _Column("symbol", "(not mapped)")).wrong(
                value, "no symbol"
            )
        symbol = value.strip().upper()
        if asked.symbols and symbol not in asked.symbols:
            raise self.columns["symbol"].wrong(value, "none of the feed's symbols")
        return symbol

    def _number(self, name: str, value: Any) -> float:
        if value is None or value == "":
            return NAN
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.columns[name].wrong(value, "no number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.columns[name].wrong(value, "not a finite number")
        return number

    def _plain(self, name: str, value: Any, stored: str) -> Any:
        if stored in {"int64", "int32"}:
            if value is None:
                return -1
            if isinstance(value, str) and value.isdecimal() and value.isascii():
                value = int(value[:40])
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
                raise self.columns[name].wrong(value, "no whole number of 64 bits")
            return value
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.columns[name].wrong(value, "no text")
        return str(value)

    def _time(self, value: Any, received_at: int) -> tuple[int, Any]:
        if value is None:
            mapped = self.columns.get("ts_event")
            if mapped is not None and not mapped.optional:
                raise mapped.wrong(value, "no time")
            return received_at, "receive"
        column = self.columns["ts_event"]
        try:
            if column.unit == "iso":
                if not isinstance(value, str):
                    raise column.wrong(value, "no ISO 8601 time; is a unit missing?")
                return iso_to_ns(value), "vendor"
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise column.wrong(value, f"no number of {column.unit}")
            ns = int(Decimal(str(value)[:60].strip()) * STAMP_UNITS[column.unit])
        except Fault:
            raise
        except (InvalidOperation, ValueError, OverflowError) as error:
            raise column.wrong(value, f"no time ({error or 'no number'})") from None
        if not -(2**63) < ns < 2**63:
            raise column.wrong(value, "outside the years 1677 to 2262; is the unit right?")
        return ns, "vendor"


def _shown(value: Any) -> str:
    return f"{value!r:.80}"


# Ours, for those who can write their JSON as they like.
_OUR_OWN: Final[Mapping[str, Any]] = {
    **{name: name for name in ("event_type", *_MAPPED)},
    "ts_event": {"path": "ts_event", "unit": "iso", "optional": True},
}


def compiled(mapping: Any) -> list[EventMapping]:
    """`BadMapping` with all that is wrong with it, a line each."""
    wrong: list[str] = []
    made = []
    for one in mapping if isinstance(mapping, list) else [mapping or _OUR_OWN]:
        if not isinstance(one, Mapping):
            wrong.append(f"mapping: {one!r:.60} is no list of columns")
            continue
        columns = {}
        for name, spec in one.items():
            if name not in _KEYS:
                wrong.append(f"mapping: no column {name!r}; there are: {', '.join(_KEYS)}")
            elif name != "each":
                try:
                    columns[name] = _column(str(name), spec)
                except BadMapping as error:
                    wrong.append(f"mapping.{name}: {error}")
        for name in ("event_type", "symbol"):
            if name not in one:
                wrong.append(f"mapping: {name} is missing")
        each = one.get("each", "@")
        try:
            made.append(EventMapping(_expression(each), str(each), columns))
        except BadMapping as error:
            wrong.append(f"mapping.each: {error}")
    if wrong:
        raise BadMapping("\n".join(wrong))
    return made


def _column(name: str, spec: Any) -> _Column:
    if isinstance(spec, str):
        return _Column(name, spec, expression=_expression(spec))
    if not isinstance(spec, Mapping):
        raise BadMapping(f"{spec!r:.60} is no expression; a fixed value is {{value: {spec!r:.40}}}")
    for key in spec:
        if key not in _SPEC_KEYS:
            raise BadMapping(f"no such key {key!r}; there are: {', '.join(_SPEC_KEYS)}")
    if ("path" in spec) == ("value" in spec):
        raise BadMapping("path or value is needed, not both")
    if "value" in spec:
        return _Column(name, value=spec["value"])
    values = spec.get("values") or {}
    if not isinstance(values, Mapping):
        raise BadMapping("values: pairs of theirs and ours are needed")
    unit = spec.get("unit", "iso")
    if unit not in _UNITS:
        raise BadMapping(f"unit = {unit!r}: must be one of {', '.join(_UNITS)}")
    if {"unit", "optional"} & spec.keys() and name != "ts_event":
        raise BadMapping("unit, optional: only ts_event has them")
    optional = spec.get("optional", False)
    if not isinstance(optional, bool):
        raise BadMapping(f"optional = {optional!r}: true or false is needed")
    path = spec["path"]
    known = {str(theirs): ours for theirs, ours in values.items()}
    return _Column(name, str(path), None, known, unit, optional, _expression(path))


def _expression(path: Any) -> ParsedResult:
    if not isinstance(path, str):
        raise BadMapping(f"{path!r:.60} is no expression")
    try:
        return jmespath.compile(path)
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise BadMapping(f"{path!r:.80} is no JMESPath expression: {said:.160}") from None


def read_mapped(
    mappings: Sequence[EventMapping], frame: bytes, asked: Subscription, received_at: int
) -> Reading:
    try:
        body = msgspec.json.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return quarantined(f"not JSON: {error}")
    reading = Reading()
    found_any = False
    for mapping in mappings:
        events = mapping.events(body, asked, received_at, reading.faults)
        if events is not None:
            found_any = True
            reading.events += events
    if reading.events or reading.faults:
        return reading
    if not found_any:
        paths = ", ".join(mapping.each_path for mapping in mappings)
        return quarantined(f"each: {paths} gives nothing")
    return control("notice", "no events in it")
