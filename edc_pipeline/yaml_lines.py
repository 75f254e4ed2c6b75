"""YAML whose every value knows its line, so that a mistake can be shown, not hinted at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

MAX_BYTES: Final = 1 << 20  # a feeds.yaml of 3,000 symbols is 40 kB

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 100_000


class _PlainLoader(yaml.SafeLoader):
    """YAML 1.2's plain values: in YAML 1.1 the tickers ON and NO are booleans, and 10:20 is 620."""


_PlainLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("merge", r"^<<$", "<"),
):
    _PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), [*_first, ""]
    )


class YamlMistake(Exception):
    """The file can't be read as a mapping; the message has the file, the line and the remedy."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    path: Path
    values: Mapping[str, Any]
    lines: Mapping[tuple[str, ...], int]

    def place(self, path: tuple[str, ...]) -> str:
        """`feeds.yaml line 12`: the value's own line, or that of the nearest that has one."""
        for end in range(len(path), 0, -1):
            if (line := self.lines.get(path[:end])) is not None:
                return f"{self.path} line {line}"
        return str(self.path)


def read_yaml(path: Path) -> YamlFile:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise YamlMistake(f"{path}: larger than {MAX_BYTES} bytes; that is no settings file")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise YamlMistake(f"{path}: can't be read: {reason}") from None
    try:
        node = yaml.compose(text, Loader=_PlainLoader)
        values = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise YamlMistake(f"{path}{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlMistake(f"{path}: {error}") from None
    if values is None:
        return YamlFile(path, {}, {})
    if not isinstance(values, dict):
        raise YamlMistake(f"{path} line 1: expected `key: value` lines, found {values!r:.60}")
    lines: dict[tuple[str, ...], int] = {}
    _note_lines(path, node, (), lines)
    return YamlFile(path, {str(k): v for k, v in values.items()}, lines)


def _note_lines(
    file: Path, node: yaml.Node | None, path: tuple[str, ...], lines: dict[tuple[str, ...], int]
) -> None:
    if node is None:
        return
    # Aliases can make a short text an endless or an exploding tree.
    if len(path) > MAX_DEPTH or len(lines) > MAX_VALUES:
        raise YamlMistake(
            f"{file} line {node.start_mark.line + 1}: nested deeper than {MAX_DEPTH} or more than"
            f" {MAX_VALUES} values"
        )
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise YamlMistake(
                    f"{file} line {line}: {'.'.join((*path, name))} stands here and on line"
                    f" {seen[name]}; keep one"
                )
            seen[name] = line
            lines[(*path, name)] = line
            _note_lines(file, value, (*path, name), lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            _note_lines(file, value, (*path, str(position)), lines)
