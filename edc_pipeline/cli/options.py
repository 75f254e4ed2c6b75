"""Options and errors that several commands share, so that each is spelled once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edc_pipeline.market_day import parse_day

if TYPE_CHECKING:
    from edc_pipeline.settings import Settings
    from edc_pipeline.vendors.contract import Vendor


class WrongCall(click.ClickException):
    """The call or the set-up is wrong: said in a line or a few, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"edc: {self.format_message()}", err=True)


class FallsShort(click.ClickException):
    """The data falls short of what was asked: exit code 1."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        click.echo(f"edc: {self.format_message()}", err=True)


class Day(click.ParamType[dt.date]):
    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: Any, ctx: Any) -> dt.date:
        if isinstance(value, dt.date):
            return value
        try:
            return parse_day(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def existing_spool(spool: Path) -> Path:
    """A path that is no spool must not look like one where all is well."""
    from edc_pipeline.spool.layout import is_spool  # noqa: PLC0415

    if not is_spool(spool):
        raise WrongCall(
            f"there is no spool at {spool}; name one with --spool, data_dir or --config"
        )
    return spool


config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file. [default: $EDC_CONFIG, else feeds.yaml]",
)
as_json = click.option("--json", "as_json", is_flag=True, help="For machines: JSON, no colours.")


def vendor_named(name: str) -> Vendor:
    """By any of its names."""
    from edc_pipeline.vendors import VENDORS, named  # noqa: PLC0415

    vendor = named(name)
    if vendor is None:
        raise WrongCall(f"no such vendor {name!r}; known: {', '.join(sorted(VENDORS))}")
    return vendor


def load_settings(path: Path | None) -> Settings:
    from edc_pipeline.settings import SettingsMistakes, load  # noqa: PLC0415 - heavy

    try:
        return load(path)
    except SettingsMistakes as mistakes:
        raise WrongCall("the settings are wrong:\n  " + "\n  ".join(mistakes.mistakes)) from None
