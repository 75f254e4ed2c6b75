"""Settings: one typed tree from `feeds.yaml` and the environment.

Every mistake is found at once and told with its place (file and line, or variable), the value,
and what is allowed. A key that nobody knows is a mistake. Secrets come from the environment only;
they are handed out by `Settings.secret` and stand in no field, so no dump or repr can show them.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal
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
from pydantic_settings.sources import EnvSettingsSource

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import FeedSpec, Subscription, Vendor
from edc_pipeline.yaml_lines import YamlFile, YamlMistake, read_yaml

PREFIX: Final = "EDC_"
NESTED: Final = "__"
CONFIG_VARIABLE: Final = "EDC_CONFIG"  # which feeds.yaml
# Variables with our prefix that are no settings of this tree.
_OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, "EDC_SIM_TOKEN"})

_FEED_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


class SettingsMistakes(Exception):
    """All that is wrong with the settings, one line a mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class _Tree(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feed(_Tree):
    """One line of supply: a vendor's product, the symbols wanted, the connections to keep."""

    vendor: str
    feed: str
    symbols: tuple[str, ...] = ()
    all_symbols: bool = False  # the whole product, instead of a list
    connections: Annotated[int, Field(ge=1, le=16)] = 1
    options: dict[str, Any] = {}
    asset_classes: dict[str, AssetClass] = {}
    url: str = ""
    plaintext: bool = False  # allow ws:// to a host that is not this machine
    enabled: bool = True

    @field_validator("vendor")
    @classmethod
    def _vendor_is_known(cls, name: str) -> str:
        if name not in VENDORS:
            raise ValueError(f"no such vendor{_meant(name, VENDORS)}; known: {_listed(VENDORS)}")
        return name

    @model_validator(mode="after")
    def _asks_for_what_the_vendor_has(self) -> Feed:
        feeds = VENDORS[self.vendor].feeds
        if self.feed not in feeds:
            raise ValueError(
                f"feed: {self.vendor} has no feed {self.feed!r}{_meant(self.feed, feeds)};"
                f" it has: {_listed(feeds)}"
            )
        wrong = [f"options: {m}" for m in self.spec.check_options(self.options)]
        if bool(self.symbols) == self.all_symbols:
            wrong.append("symbols: name the symbols wanted, or set all_symbols: true, not both")
        check = VENDORS[self.vendor].check_symbol
        for symbol in dict.fromkeys((*self.symbols, *self.asset_classes)):
            if (fault := check(self.feed, symbol)) is not None:
                wrong.append(f"symbols: {symbol!r} {fault}")
        wrong += _url_mistakes(self.url, plaintext=self.plaintext)
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def spec(self) -> FeedSpec:
        return VENDORS[self.vendor].feeds[self.feed]

    @property
    def vendor_rules(self) -> Vendor:
        return VENDORS[self.vendor]

    @property
    def address(self) -> str:
        return self.url or self.spec.url

    @property
    def is_simulated(self) -> bool:
        """On this machine no vendor asks for a key."""
        return _is_this_machine(urlsplit(self.address).hostname or "")

    @property
    def subscription(self) -> Subscription:
        return Subscription(self.feed, self.symbols, self.options, self.asset_classes)


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


class Consolidation(_Tree):
    """How a day becomes a file."""

    codec: Literal["blosc2-lz4", "zstd", "zlib"] = "blosc2-lz4"
    versions: Annotated[int, Field(ge=0, le=100)] = 3
    # New York time at which yesterday is consolidated: past midnight, plus room for late data.
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:20"


class Dagster(_Tree):
    """How capture shows itself in the Dagster UI."""

    # An event-log entry costs 9 kB for ever: report every few minutes, never per micro-batch.
    report_seconds: Annotated[float, Field(ge=5, le=86_400)] = 300.0


class Settings(BaseSettings):
    """The whole tree. Environment over file over default: `EDC_CAPTURE__FLUSH_SECONDS=30`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=NESTED, extra="forbid", frozen=True
    )

    data_dir: Path = Path("data")
    feeds: dict[str, Feed] = {}
    capture: Capture = Capture()
    consolidation: Consolidation = Consolidation()
    dagster: Dagster = Dagster()

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
        return self._secrets.get(feed.vendor) or ("simulated" if feed.is_simulated else "")

    def missing_secrets(self) -> list[str]:
        """One line for each variable that an enabled feed needs and the environment lacks."""
        return [
            f"{vendor.secret} is not set; the feed {name!r} needs it:"
            f" export {vendor.secret}=<your {vendor.title} key>"
            for name, feed in self.enabled_feeds.items()
            if (vendor := feed.vendor_rules).secret and not self.secret(feed)
        ]


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings. Without a path: `EDC_CONFIG`, else `feeds.yaml` if it is there."""
    environ = os.environ if environ is None else environ
    named = path or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    file = _read_file(named)
    tree, variables = _environment(environ)
    mistakes = _unknown_variables(environ)
    try:
        settings = Settings(**_merged(file.values, tree))
    except ValidationError as error:
        mistakes += [_told(e, file, variables) for e in error.errors(include_url=False)]
        raise SettingsMistakes(mistakes) from None
    if mistakes:
        raise SettingsMistakes(mistakes)
    for vendor in VENDORS.values():
        if vendor.secret and environ.get(vendor.secret):
            settings._secrets[vendor.name] = environ[vendor.secret]
    return settings


def _read_file(named: Path | None) -> YamlFile:
    path = named or Path("feeds.yaml")
    if named is None and not path.exists():
        return YamlFile(path, {}, {})
    try:
        return read_yaml(path)
    except YamlMistake as mistake:
        raise SettingsMistakes([str(mistake)]) from None


def _environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """The part of the tree that stands in variables, and which variable says what."""
    variables = {
        tuple(name.removeprefix(PREFIX).lower().split(NESTED)): name
        for name in environ
        if name.startswith(PREFIX) and _top_key(name) in Settings.model_fields
    }
    source = EnvSettingsSource(
        Settings, env_prefix=PREFIX, env_nested_delimiter=NESTED, case_sensitive=False
    )
    source.env_vars = {PREFIX.lower() + NESTED.join(k): environ[v] for k, v in variables.items()}
    try:
        return source(), variables
    except ValueError as error:  # a value that should be JSON and is not
        raise SettingsMistakes([f"environment: {error}"]) from None


def _secret_variables() -> set[str]:
    return {vendor.secret for vendor in VENDORS.values() if vendor.secret}


def _top_key(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower().split(NESTED)[0]


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    tops = set(Settings.model_fields)
    known = {PREFIX + name.upper() for name in tops} | _OTHER_VARIABLES | _secret_variables()
    return [
        f"environment {name}: no such setting{_meant(name, known)}; known: {_listed(known)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and _top_key(name) not in tops
    ]


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def _told(error: Any, file: YamlFile, variables: Mapping[tuple[str, ...], str]) -> str:
    """One mistake, as its owner wants to hear it: where, what, and what is allowed."""
    path = tuple(str(part) for part in error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    value = error["input"]
    shown = "" if isinstance(value, Mapping | BaseModel) else f" = {value!r}"
    if error["type"] == "extra_forbidden":
        allowed = _allowed_keys(path[:-1])
        text = f"no such setting{_meant(path[-1], allowed)}; allowed: {_listed(allowed)}"
        shown = ""
    place = variables.get(path) or next(
        (v for k, v in variables.items() if k[: len(path)] == path or path[: len(k)] == k), None
    )
    where = f"environment {place}" if place else file.place(path)
    return f"{where}: {'.'.join(path)}{shown}: {text}"


def _allowed_keys(path: tuple[str, ...]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "feeds": Feed,
        "capture": Capture,
        "consolidation": Consolidation,
        "dagster": Dagster,
    }
    return list((models[path[0]] if path else Settings).model_fields)


def _url_mistakes(url: str, *, plaintext: bool) -> list[str]:
    if not url:
        return []
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        return [f"url: {url!r} is not a ws:// or wss:// address"]
    if parts.scheme == "ws" and not plaintext and not _is_this_machine(parts.hostname):
        return [
            f"url: {url!r} would send the key and the data unencrypted;"
            " use wss://, or set plaintext: true if that is meant"
        ]
    return []


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _meant(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
