"""A mistake in the settings as its owner wants to hear it: where, what, and what is allowed.

The checker's own words ("Input should be a valid tuple") speak of its types; these of the file.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from edc_pipeline.yaml_lines import YamlFile

_WORDS: Final[Mapping[str, str]] = {
    "bool_parsing": "true or false is needed",
    "bool_type": "true or false is needed",
    "dict_type": "`key: value` lines are needed here",
    "finite_number": "a finite number is needed",
    "float_parsing": "a number is needed",
    "float_type": "a number is needed",
    "int_from_float": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_type": "a whole number is needed",
    "list_type": "a list is needed, as [A, B]",
    "missing": "is missing",
    "model_attributes_type": "`key: value` lines are needed here",
    "model_type": "`key: value` lines are needed here",
    "path_type": "a path is needed",
    "string_type": "text is needed; put it in quotes",
    "tuple_type": "a list is needed, as [A, B]",
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than": ("must be greater than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("must be at most", "le"),
}
# What a setting that has to look a certain way looks like.
_LOOKS_LIKE: Final[Mapping[str, str]] = {
    "raw_archive": "days, as 7d or 0d",
    "at": "a time of day, as 00:20",
}


def told(
    error: Any,
    file: YamlFile,
    variables: Mapping[tuple[str, ...], str],
    allowed: Mapping[tuple[str, ...], Iterable[str]],
) -> str:
    """`allowed`: the keys of the tree at a place, for one that nobody knows."""
    path = tuple(str(part) for part in error["loc"])
    value = error["input"]
    shown = "" if isinstance(value, Mapping | BaseModel) else f" = {value!r:.200}"
    if error["type"] == "extra_forbidden":
        keys = allowed[path[:1] if len(path) > 1 else ()]
        text = f"no such setting{meant(path[-1], keys)}; allowed: {listed(keys)}"
        shown = ""
    else:
        text = _in_words(error, path)
    place = variables.get(path) or next(
        (v for k, v in variables.items() if k[: len(path)] == path or path[: len(k)] == k), None
    )
    where = f"environment {place}" if place else file.place(path)
    return f"{where}: {'.'.join(path)}{shown}: {text}"


def _in_words(error: Any, path: tuple[str, ...]) -> str:
    kind, about = error["type"], error.get("ctx", {})
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {about[bound]:g}"
    if kind == "literal_error":
        return f"must be one of {about['expected']}"
    if kind == "string_pattern_mismatch":
        looks = _LOOKS_LIKE.get(path[-1])
        return f"must be {looks}" if looks else f"does not match {about['pattern']}"
    return _WORDS.get(kind) or str(error["msg"]).removeprefix("Value error, ")


def meant(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def url_mistakes(url: str, *, plaintext: bool, scheme: str = "ws") -> list[str]:
    """`scheme` is the unencrypted one: ws or http."""
    if not url:
        return []
    parts = urlsplit(url)
    if parts.scheme not in {scheme, f"{scheme}s"} or not parts.hostname:
        return [f"url: {url!r} is not a {scheme}:// or {scheme}s:// address"]
    if parts.scheme == scheme and not plaintext and not is_this_machine(parts.hostname):
        return [
            f"url: {url!r} would send the key and the data unencrypted;"
            f" use {scheme}s://, or set plaintext: true if that is meant"
        ]
    return []


def is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
