"""Settings: one typed tree from `feeds.yaml` and the environment.

Every mistake is found at once and told with its place (file and line, or variable), the value,
and what is allowed. A key that nobody knows is a mistake. Secrets come from the environment only;
they are handed out by `Settings.secret` and stand in no field, so no dump or repr can show them.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from edc_pipeline.environment import NESTED, PREFIX, NotJson, read_environment, top_key
from edc_pipeline.events import AssetClass
from edc_pipeline.polling_plan import Plan, PollHours, class_of_spelling, plan_mistakes
from edc_pipeline.setting_mistakes import is_this_machine, listed, meant, told, url_mistakes
from edc_pipeline.settings_of_days import (
    ALERT_URLS,
    Alerts,
    Consolidation,
    Dagster,
    Retention,
)
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
from edc_pipeline.vendors.shards import beyond_limit
from edc_pipeline.yaml_lines import YamlFile, YamlMistake, read_yaml

CONFIG_VARIABLE: Final = "EDC_CONFIG"  # which feeds.yaml
# Variables with our prefix that are no settings of this tree.
_OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, "EDC_SIM_TOKEN"})

_FEED_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SECRET_LENGTH: Final = 16
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


class SettingsMistakes(Exception):
    """All that is wrong with the settings, one line a mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class _Tree(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Tree):
    """What your plan with a websocket's vendor allows, where that is not what `edc vendors` says of
    the plan that everybody has."""

    connections: Annotated[int, Field(ge=1, le=1000)] | None = None
    symbols_per_connection: Annotated[int, Field(ge=1)] | None = None
    messages_per_s: Annotated[float, Field(gt=0, le=10_000)] | None = None


class Feed(_Tree):
    """One line of supply: a vendor's product, the symbols wanted, the connections to keep."""

    vendor: str
    feed: str
    symbols: tuple[str, ...] = ()
    all_symbols: bool = False  # the whole product, instead of a list
    connections: Annotated[int, Field(ge=1, le=16)] = 1
    options: dict[str, Any] = {}
    asset_classes: dict[str, AssetClass] = {}
    limits: Limits = Limits()
    # The variable that holds this feed's key, where the vendor's own will not do. Never the key.
    secret: str = ""
    url: str = ""
    plaintext: bool = False  # allow ws:// or http:// to a host that is not this machine
    enabled: bool = True
    # Of a polled feed: seconds between two requests for the same (the vendor's file has a default),
    # the requests that a better plan than the free one allows, and when to ask.
    every: Annotated[float, Field(gt=0, le=86_400)] | None = None
    budget: dict[Period, Annotated[int, Field(ge=1, le=1_000_000_000)]] = {}
    hours: PollHours | None = None

    @field_validator("vendor")
    @classmethod
    def _vendor_is_known(cls, name: str) -> str:
        vendor = named(name)
        if vendor is None:
            raise ValueError(f"no such vendor{meant(name, VENDORS)}; known: {listed(VENDORS)}")
        return vendor.name

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
        check = VENDORS[self.vendor].check_symbol
        for symbol in dict.fromkeys((*self.symbols, *self.asset_classes)):
            if (fault := check(self.feed, symbol)) is not None:
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
        classes = {
            self.asset_classes.get(s, class_of_spelling(s, self.spec.asset_class))
            for s in self.symbols
        }
        stated = tuple(Budget(n, per) for per, n in self.budget.items())
        return Plan(
            name=name,
            title=self.vendor_rules.title,
            key=self.key,
            symbols=len(self.symbols),
            requests=len(polling.requests(self.subscription)),
            every_s=polling.every_s if self.every is None else self.every,
            asset_classes=frozenset(classes or {self.spec.asset_class}),
            hours=self.hours or "regular",
            budgets=stated or polling.budgets,
            stated=bool(stated),
        )

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


class Capture(_Tree):
    """How frames become micro-batches."""

    flush_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    flush_rows: Annotated[int, Field(ge=1, le=5_000_000)] = 100_000
    # Rows that may wait for the disk. At about 1 kB a waiting row this bounds memory near 1 GB;
    # past it the sockets are no longer read, and the vendor's own buffers fill.
    waiting_rows: Annotated[int, Field(ge=1_000, le=10_000_000)] = 1_000_000
    # How long a received frame may wait for its fdatasync; what a kill -9 can cost at the most.
    commit_seconds: Annotated[float, Field(ge=0.001, le=10)] = 0.05
    # A journal segment is sealed at this size; a collector reads one at a time to recover.
    segment_mib: Annotated[float, Field(gt=0, le=1024)] = 64.0
    # How long the frames themselves are kept, to be read again when a parser is mended. 0d: not.
    raw_archive: Annotated[str, Field(pattern=r"^\d{1,4}d$")] = "7d"
    drain_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    # C2: an event whose day lies farther from its receipt is quarantined. 7 days let a weekend, a
    # holiday and a vendor's replay of the last session through, and stop seconds taken for ms.
    horizon_days: Annotated[int, Field(ge=1, le=36_500)] = 7

    # Prometheus text at http://<host>:<port>/metrics while capture runs; 0: none. It tells names of
    # feeds and figures, no prices and no keys, to anyone who reaches the host.
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    metrics_host: str = "127.0.0.1"

    @property
    def raw_archive_days(self) -> int:
        return int(self.raw_archive.removesuffix("d"))


class Webhook(_Tree):
    """Where vendors call us: `POST http://<host>:<port>/<feed's name>`, for feeds that are called.

    It speaks plain HTTP: what comes from outside this machine comes through a proxy with TLS.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 8790
    public: bool = False  # allow a host that others can reach
    # The header in which the proxy tells the caller's address, and which proxies may tell it.
    proxy_header: str = ""
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    body_kib: Annotated[int, Field(ge=1, le=10_240)] = 256
    at_once: Annotated[int, Field(ge=1, le=1_000)] = 64  # connections
    # Deliveries to one feed. What came is remembered for ten minutes: 0.2 kB each.
    per_second: Annotated[float, Field(gt=0, le=500)] = 50.0
    read_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0  # for head and body each

    @model_validator(mode="after")
    def _is_closed_unless_meant(self) -> Webhook:
        if not self.public and not is_this_machine(self.host):
            raise ValueError(
                f"host: {self.host!r} can be reached from outside this machine;"
                " set public: true if that is meant"
            )
        for address in self.proxies:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise ValueError(f"proxies: {address!r} is no IP address") from None
        return self


class Settings(BaseSettings):
    """The whole tree. Environment over file over default: `EDC_CAPTURE__FLUSH_SECONDS=30`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True
    )

    data_dir: Path = Path("data")
    feeds: dict[str, Feed] = {}
    capture: Capture = Capture()
    webhook: Webhook = Webhook()
    consolidation: Consolidation = Consolidation()
    dagster: Dagster = Dagster()
    alerts: Alerts = Alerts()
    retention: Retention = Retention()

    _secrets: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("feeds")
    @classmethod
    def _names_are_plain(cls, feeds: dict[str, Feed]) -> dict[str, Feed]:
        for name in feeds:
            if not _FEED_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not a feed's name: lower-case letters, digits and _, at most 40"
                )
        return feeds

    @field_validator("feeds")
    @classmethod
    def _within_the_vendors_limits(cls, feeds: dict[str, Feed]) -> dict[str, Feed]:
        """A plan that the vendor would refuse is refused at start, not found out hours later."""
        sharing: dict[tuple[str, str, str | None], list[str]] = {}
        for name, feed in feeds.items():
            if feed.enabled and feed.spec.way_in == "websocket":
                product = feed.vendor, feed.feed, feed.secret_variable
                sharing.setdefault(product, []).append(name)
        wrong = []
        for names in sharing.values():
            of = [feeds[name] for name in names]
            asked = [(len(set(feed.symbols)), feed.connections) for feed in of]
            # Feeds of one product share the limits; where they state several, the highest.
            customs = max((feed.websocket for feed in of), key=lambda c: c.connections or 0)
            title = f"{of[0].vendor_rules.title} {of[0].feed}"
            if told := beyond_limit(title, customs, asked):
                wrong.append(
                    f"{' and '.join(names)}: {told}. Ask for fewer symbols or copies, or state what"
                    " your plan allows: limits: {connections: …, symbols_per_connection: …}"
                )
        if wrong:
            raise ValueError("; ".join(wrong))
        return feeds

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What `load` hands in is already merged; the process's own environment is not read here.
        return (init_settings,)

    @property
    def spool(self) -> Path:
        return self.data_dir / "spool"

    @property
    def daily(self) -> Path:
        return self.data_dir / "daily"

    @cached_property
    def enabled_feeds(self) -> dict[str, Feed]:
        return {name: feed for name, feed in self.feeds.items() if feed.enabled}

    @property
    def polling_plans(self) -> list[Plan]:
        feeds = self.enabled_feeds.items()
        return [feed.plan(name) for name, feed in feeds if feed.spec.polling is not None]

    def with_feeds(self, other: Settings) -> Settings:
        """These settings with the feeds, and the keys, of others."""
        mine = {name: getattr(self, name) for name in type(self).model_fields}
        merged = self.model_validate({**mine, "feeds": other.feeds})
        merged._secrets = other._secrets
        return merged

    def differs_beside_feeds(self, other: Settings) -> str:
        """The names of the settings, but for the feeds, that these have otherwise."""
        names = [
            f"capture.{name}" if top == "capture" else top
            for top in type(self).model_fields
            if top != "feeds" and getattr(self, top) != getattr(other, top)
            for name in (type(self.capture).model_fields if top == "capture" else [""])
            if top != "capture" or getattr(self.capture, name) != getattr(other.capture, name)
        ]
        return ", ".join(names)

    def secret(self, feed: Feed) -> str:
        """The vendor's key. A simulated feed takes any word, so none has to be set for it."""
        known = self._secrets.get(feed.secret_variable or "", "")
        return known or ("simulated" if feed.is_simulated else "")

    @property
    def alert_urls(self) -> list[str]:
        """Where alerts go; they hold tokens, so they are secrets."""
        return self._secrets.get(ALERT_URLS, "").split()

    def missing_secrets(self) -> list[str]:
        """One line for each variable that an enabled feed needs, and that the environment lacks or
        whose value is no such key, or one that anyone who may call could guess."""
        wrong = []
        for name, feed in self.enabled_feeds.items():
            variable, secret = feed.secret_variable, self.secret(feed)
            check = None if feed.is_simulated else feed.vendor_rules.check_secret
            if variable and not secret:
                wrong.append(
                    f"{variable} is not set; the feed {name!r} needs it:"
                    f" export {variable}={feed.vendor_rules.key_form or f'<{feed.key_is}>'}"
                )
            elif feed.spec.webhook and len(secret) < _SECRET_LENGTH:
                wrong.append(
                    f"{variable} is short; whoever guesses it can call the feed {name!r}:"
                    f" at least {_SECRET_LENGTH} characters, as python -c"
                    " 'import secrets; print(secrets.token_urlsafe(24))' makes them"
                )
            elif check and (told := check(secret)):
                wrong.append(f"{variable} {told}; the feed {name!r} needs it")
        return wrong


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Without a path: `EDC_CONFIG`, else `feeds.yaml` if it is there."""
    environ = os.environ if environ is None else environ
    named = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    file = _read_file(named)
    try:
        tree, variables = read_environment(Settings, environ)
    except NotJson as wrong:
        raise SettingsMistakes(wrong.mistakes) from None
    merged = _merged(file.values, tree)
    secrets = _secret_variables(merged)
    mistakes = _unknown_variables(environ, secrets)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        allowed = _allowed_keys()
        found = error.errors(include_url=False)
        mistakes += [told(e, file, variables, allowed) for e in found]
        raise SettingsMistakes(mistakes) from None
    if mistakes:
        raise SettingsMistakes(mistakes)
    if mistakes := [
        f"{file.place(('feeds', name, 'every'))}: feeds.{name}: {wrong}"
        for name, wrong in plan_mistakes(settings.polling_plans).items()
    ]:
        raise SettingsMistakes(mistakes)
    settings._secrets.update({name: environ[name] for name in secrets if environ.get(name)})
    return settings


def _read_file(named: Path | None) -> YamlFile:
    path = named or Path("feeds.yaml")
    if named is None and not path.exists():
        return YamlFile(path, {}, {})
    try:
        return read_yaml(path)
    except YamlMistake as mistake:
        raise SettingsMistakes([str(mistake)]) from None


def _secret_variables(tree: Mapping[str, Any]) -> set[str]:
    """Of the vendors, of their webhooks, and those that the feeds name."""
    found = {vendor.secret for vendor in VENDORS.values()}
    found |= {f.webhook.secret for v in VENDORS.values() for f in v.feeds.values() if f.webhook}
    feeds = tree.get("feeds")
    for feed in feeds.values() if isinstance(feeds, Mapping) else ():
        if isinstance(feed, Mapping) and isinstance(feed.get("secret"), str):
            found.add(feed["secret"])
    return {name for name in found if name} | {ALERT_URLS}


def _unknown_variables(environ: Mapping[str, str], secrets: set[str]) -> list[str]:
    tops = set(Settings.model_fields)
    known = {PREFIX + name.upper() for name in tops} | _OTHER_VARIABLES | secrets
    return [
        f"environment {name}: no such setting{meant(name, known)}; known: {listed(known)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and top_key(name) not in tops
    ]


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def _allowed_keys() -> dict[tuple[str, ...], list[str]]:
    """The keys of the tree, by where they stand."""
    models: dict[tuple[str, ...], type[BaseModel]] = {
        (): Settings,
        ("feeds",): Feed,
        ("capture",): Capture,
        ("webhook",): Webhook,
        ("consolidation",): Consolidation,
        ("dagster",): Dagster,
        ("alerts",): Alerts,
        ("retention",): Retention,
    }
    return {place: list(model.model_fields) for place, model in models.items()}


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
