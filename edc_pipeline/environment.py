"""The part of the settings that stands in variables: `EDC_CAPTURE__FLUSH_SECONDS=30`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_settings import BaseSettings
from pydantic_settings.sources import EnvSettingsSource

PREFIX: Final = "EDC_"
NESTED: Final = "__"


class NotJson(ValueError):
    """Values that should be JSON and are not: `mistakes`, one line each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def read_environment(
    tree: type[BaseSettings], environ: Mapping[str, str]
) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """The part of the tree that stands in variables, and which variable says what."""
    variables = {
        tuple(name.removeprefix(PREFIX).lower().split(NESTED)): name
        for name in environ
        if name.startswith(PREFIX) and top_key(name) in tree.model_fields
    }
    try:
        return _tree_of(tree, environ, variables), variables
    except ValueError:  # a value that should be JSON and is not
        pass
    wrong = []
    for path, name in variables.items():
        try:
            _tree_of(tree, environ, {path: name})
        except ValueError:
            wrong.append(
                f"environment {name} = {environ[name]!r:.200}: is no JSON;"
                ' a list is ["AAPL", "MSFT"], keys and values are {"SPY": "etf"}'
            )
    raise NotJson(wrong or ["environment: the variables contradict each other"])


def _tree_of(
    tree: type[BaseSettings], environ: Mapping[str, str], variables: Mapping[tuple[str, ...], str]
) -> dict[str, Any]:
    source = EnvSettingsSource(
        tree, env_prefix=PREFIX, env_nested_delimiter=NESTED, case_sensitive=False
    )
    source.env_vars = {PREFIX.lower() + NESTED.join(k): environ[v] for k, v in variables.items()}
    return source()


def top_key(variable: str) -> str:
    return variable.removeprefix(PREFIX).lower().split(NESTED)[0]
