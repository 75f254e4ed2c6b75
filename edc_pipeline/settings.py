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
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

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
from edc_pipeline.polling_plan import Plan, plan_mistakes
from edc_pipeline.setting_mistakes import is_this_machine, listed, meant, told
from edc_pipeline.settings_of_days import (
    ALERT_URLS,
    Alerts,
    Consolidation,
    Dagster,
    Retention,
)
from edc_pipeline.settings_of_feeds import Feed, beyond_the_vendors_limits
from edc_pipeline.vendors import VENDORS
from edc_pipeline.yaml_lines import YamlFile, YamlMistake, read_yaml

CONFIG_VARIABLE: Final = "EDC_CONFIG"  # which feeds.yaml
# Variables with our prefix that are no settings of this tree.
_OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, "EDC_SIM_TOKEN"})

_FEED_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SECRET_LENGTH: Final = 16


class SettingsMistakes(Exception):
    """All that is wrong with the settings, one line a mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class _Tree(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Capture(_Tree):
    """How frames become micro-batches."""

    flush_seconds: Annotated[float, Field(gt=0, le=3600)] = 60.0
    flush_rows: Annotated[int, Field(ge=1, le=5_000_000)] = 100_000
    # Rows that may wait for the disk. At about 1 kB a waiting row this bounds memory near 1 GB;
    # past it the sockets are no longer read, and the vendor's own buffers fill.
    waiting_rows: Annotated[int, Field(ge=1_000, le=10_000_000)] = 1_000_000
    # How long a received frame may wait for its fdatasync; what a kill -9 can cost at the most.
    commit_seconds: Annotated[float, Field(ge=0.001, le=10)] = 0.05
    # A journal segment is sealed at this size on the disk, or at 16 times as much uncompressed. To
    # recover, one is in memory as it is on the disk, and then one commit of it uncompressed.
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


# What a simulated feed is asked with where no key is set.
SIMULATED_KEY: Final = "simulated"


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
        if wrong := beyond_the_vendors_limits(feeds):
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
        return known or (SIMULATED_KEY if feed.is_simulated else "")

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
        f"environment {name}: no such setting{meant(name, known)}; unset it, or name a webhook's"
        f" `secret:` by it; known: {listed(known)}"
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
