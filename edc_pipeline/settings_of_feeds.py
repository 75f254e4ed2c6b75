"""The part of the settings tree that says what to capture: feeds, and your plans with vendors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from edc_pipeline.events import AssetClass
from edc_pipeline.market_hours import MarketIsOpen, any_open
from edc_pipeline.polling_plan import Plan, PollHours
from edc_pipeline.setting_mistakes import is_this_machine, listed, meant, url_mistakes
from edc_pipeline.settings_of_days import Tree
from edc_pipeline.vendors import VENDORS, named
from edc_pipeline.vendors.contract import (
    EVERY_POLL,
    Budget,
    FeedSpec,
    Period,
    Subscription,
    Vendor,
    Websocket,
)
from edc_pipeline.vendors.lookup import symbol_fault
from edc_pipeline.vendors.shards import beyond_limit

_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


class Limits(Tree):
    """What your plan with a websocket's vendor allows, where that is not what `edc vendors` says of
    the plan that everybody has."""

    connections: Annotated[int, Field(ge=1, le=1000)] | None = None
    symbols_per_connection: Annotated[int, Field(ge=1)] | None = None
    messages_per_s: Annotated[float, Field(gt=0, le=10_000)] | None = None


class Feed(Tree):
    """One line of supply: a vendor's product, the symbols wanted, the connections to keep."""

    vendor: str
    feed: str
    symbols: tuple[str, ...] = ()
    all_symbols: bool = False  # the whole product, instead of a list
    connections: Annotated[int, Field(ge=1, le=16)] = 1
    options: dict[str, Any] = Field(default_factory=dict)
    asset_classes: dict[str, AssetClass] = Field(default_factory=dict)
    limits: Limits = Limits()
    # The variable that holds this feed's key, where the vendor's own will not do. Never the key.
    secret: str = ""
    url: str = ""
    plaintext: bool = False  # allow ws:// or http:// to a host that is not this machine
    enabled: bool = True
    # Of a polled feed: seconds between two requests for the same (the vendor's file has a default),
    # the requests that a better plan than the free one allows, and when to ask.
    every: Annotated[float, Field(gt=0, le=86_400)] | None = None
    budget: dict[Period, Annotated[int, Field(ge=1, le=1_000_000_000)]] = Field(
        default_factory=dict
    )
    hours: PollHours | None = None

    @field_validator("vendor")
    @classmethod
    def _vendor_is_known(cls, name: str) -> str:
        vendor = named(name)
        if vendor is None:
            raise ValueError(f"no such vendor{meant(name, VENDORS)}; known: {listed(VENDORS)}")
        return vendor.name

    @field_validator("symbols")
    @classmethod
    def _each_once(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        """One that is named twice is asked for once, and its vendor's limits count it once."""
        return tuple(dict.fromkeys(symbols))

    @model_validator(mode="before")
    @classmethod
    def _reads_its_files(cls, values: Any) -> Any:
        """Vendors read no files: what an option's file says becomes options and asset classes."""
        if not isinstance(values, Mapping):
            return values
        vendor = named(str(values.get("vendor")))
        spec = vendor.feeds.get(str(values.get("feed"))) if vendor else None
        options = values.get("options")
        if spec is None or not isinstance(options, Mapping):
            return values
        classes = values.get("asset_classes") or {}
        for name in spec.option_files.keys() & options.keys():
            symbols = [str(symbol) for symbol in values.get("symbols") or ()]
            options, found = _read_option_file(spec, name, symbols, options)
            classes = {**found, **classes}
        return {**values, "options": options, "asset_classes": classes}

    @model_validator(mode="after")
    def _asks_for_what_the_vendor_has(self) -> Feed:
        feeds = VENDORS[self.vendor].feeds
        if self.feed not in feeds:
            raise ValueError(
                f"feed: {self.vendor} has no feed {self.feed!r}{meant(self.feed, feeds)};"
                f" it has: {listed(feeds)}"
            )
        polled = self.spec.polling is not None
        of_vendor = {k: v for k, v in self.options.items() if not (polled and k == EVERY_POLL)}
        wrong = [f"options: {m}" for m in self.spec.check_options(of_vendor)]
        if bool(self.symbols) == self.all_symbols:
            wrong.append("symbols: name the symbols wanted, or set all_symbols: true, not both")
        elif self.all_symbols and not self.spec.all_symbols:
            wrong.append(f"all_symbols: {self.vendor} has to be asked symbol by symbol: name them")
        vendor = self.vendor_rules
        for symbol in dict.fromkeys((*self.symbols, *self.asset_classes)):
            stated = symbol in self.asset_classes
            fault = symbol_fault(vendor, self.feed, symbol, class_is_stated=stated)
            if fault is not None:
                wrong.append(f"symbols: {symbol!r} {fault}")
        if not wrong and self.spec.check_subscription is not None:
            wrong += self.spec.check_subscription(self.subscription)
        if self.secret and not _VARIABLE.fullmatch(self.secret):
            wrong.append("secret: names a variable of the environment, as EDC_MY_FEED_SECRET")
        wrong += _polled_mistakes(self)
        if self.spec.way_in == "webhook":
            wrong += _called_mistakes(self)
        else:
            scheme = "http" if polled else "ws"
            wrong += url_mistakes(self.url, plaintext=self.plaintext, scheme=scheme)
            if not self.address:
                title = self.vendor_rules.title
                wrong.append(
                    f"url: {title} gives each account an address of its own; write it here"
                )
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def spec(self) -> FeedSpec:
        return VENDORS[self.vendor].feeds[self.feed]

    @property
    def websocket(self) -> Websocket:
        """The vendor's customs, within the limits of your plan."""
        return replace(self.spec.websocket, **self.limits.model_dump(exclude_none=True))

    @property
    def vendor_rules(self) -> Vendor:
        return VENDORS[self.vendor]

    @property
    def address(self) -> str:
        return self.url or self.spec.url

    @property
    def secret_variable(self) -> str | None:
        """Where the key stands in the environment; None: none is needed."""
        of_webhook = self.spec.webhook.secret if self.spec.webhook else None
        return self.secret or of_webhook or self.vendor_rules.secret

    @property
    def key_is(self) -> str:
        title = self.vendor_rules.title
        return f"the secret shared with {title}" if self.spec.webhook else f"your {title} key"

    @property
    def is_simulated(self) -> bool:
        """On this machine no vendor asks for a key."""
        return is_this_machine(urlsplit(self.address).hostname or "")

    @property
    def key(self) -> str:
        """What feeds that share a vendor's limits have in common: its key, and where it is used."""
        own = f":{self.secret}" if self.secret else ""
        where = f"@{urlsplit(self.address).netloc}" if self.is_simulated else ""
        return f"{self.vendor}{own}{where}"

    def plan(self, name: str) -> Plan:
        """What a polled feed asks for."""
        polling = self.spec.polling
        assert polling is not None
        stated = tuple(Budget(n, per) for per, n in self.budget.items())
        return Plan(
            name=name,
            title=self.vendor_rules.title,
            key=self.key,
            symbols=len(self.symbols),
            requests=len(polling.requests(self.subscription)),
            every_s=polling.every_s if self.every is None else self.every,
            asset_classes=self.classes,
            hours=self.hours or "regular",
            budgets=stated or polling.budgets,
            stated=bool(stated),
        )

    @property
    def classes(self) -> frozenset[AssetClass]:
        """Of all its symbols."""
        spec = self.spec
        found = {self.asset_classes.get(s) or spec.class_of(s) for s in self.symbols}
        return frozenset(found or {spec.asset_class})

    @property
    def market(self) -> MarketIsOpen:
        """Whether the market of any of its symbols is open at an instant."""
        return partial(any_open, self.classes, self.spec.hours_of)

    @property
    def subscription(self) -> Subscription:
        return Subscription(self.feed, self.symbols, self.options, self.asset_classes)


def _read_option_file(
    spec: FeedSpec, name: str, symbols: list[str], options: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, AssetClass]]:
    path = options[name]
    try:
        text = Path(str(path)).read_text(encoding="utf-8")
        return spec.option_files[name](text, symbols, options)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"options.{name}: can't read {str(path)!r}: {why}") from None
    except ValueError as error:
        raise ValueError(f"options.{name}: {str(path)!r}: {error}") from None


def beyond_the_vendors_limits(feeds: Mapping[str, Feed]) -> list[str]:
    """A plan that the vendor would refuse is refused at start, not found out hours later."""
    sharing: dict[tuple[str, str, str | None], list[str]] = {}
    for name, feed in feeds.items():
        if feed.enabled and feed.spec.way_in == "websocket":
            product = feed.vendor, feed.feed, feed.secret_variable
            sharing.setdefault(product, []).append(name)
    wrong = []
    for names in sharing.values():
        of = [feeds[name] for name in names]
        asked = [(len(feed.symbols), feed.connections) for feed in of]
        # Feeds of one product share the limits; where they state several, the highest.
        customs = max((feed.websocket for feed in of), key=lambda c: c.connections or 0)
        title = f"{of[0].vendor_rules.title} {of[0].feed}"
        if told := beyond_limit(title, customs, asked):
            wrong.append(
                f"{' and '.join(names)}: {told}. Ask for fewer symbols or copies, or state what"
                " your plan allows: limits: {connections: …, symbols_per_connection: …}"
            )
    return wrong


def _called_mistakes(feed: Feed) -> list[str]:
    wrong = []
    if feed.url:
        wrong.append("url: the vendor calls us; where is set in webhook.host and webhook.port")
    if feed.connections != 1:
        wrong.append(f"connections = {feed.connections}: a feed that is called has one way in")
    return wrong


def _polled_mistakes(feed: Feed) -> list[str]:
    if feed.spec.polling is None:
        set_here = {"every": feed.every, "budget": feed.budget, "hours": feed.hours}
        return [
            f"{name}: {feed.vendor} {feed.feed} is not polled, this setting means nothing"
            for name, value in set_here.items()
            if value
        ]
    wrong = []
    if feed.connections != 1:
        wrong.append(f"connections = {feed.connections}: what is polled is asked once: set every")
    if not isinstance(feed.options.get(EVERY_POLL, False), bool):
        wrong.append(f"options: {EVERY_POLL} is true or false")
    if feed.symbols and not feed.spec.polling.requests(feed.subscription):
        wrong.append("symbols: there is nothing to ask for")
    return wrong
