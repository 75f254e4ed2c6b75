"""Frames that no reader should accept, made from good ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final


def _truncated(body: str, choice: random.Random) -> str:
    # A JSON object is unreadable at every cut before its last brace.
    return body[: choice.randrange(1, max(2, len(body.rstrip()) - 1))]


def _wrong_types(body: str, _: random.Random) -> str:
    frame = json.loads(body)
    return json.dumps({k: v if isinstance(v, str) else _swapped(v) for k, v in frame.items()})


def _swapped(value: Any) -> Any:
    if isinstance(value, list):
        return [_swapped(v) for v in value]
    if isinstance(value, dict):
        return {k: _swapped(v) for k, v in value.items()}
    return 17 if isinstance(value, str) else {"not": "a number"}


def _invalid_utf8(body: str, choice: random.Random) -> bytes:
    sound = body.encode()
    at = choice.randrange(len(sound))
    return sound[:at] + b"\xff\xfe\xc3\x28" + sound[at:]


def _unknown_type(body: str, _: random.Random) -> str:
    frame = json.loads(body)
    # Where vendors say what a frame is.
    tag = next((k for k in ("messageType", "type", "ev", "e", "channel") if k in frame), "type")
    return json.dumps({**frame, tag: "Z"})


def _not_json(_: str, __: random.Random) -> str:
    return "<html><body><h1>502 Bad Gateway</h1></body></html>"


_MAKERS: Final[dict[str, Callable[[str, random.Random], str | bytes]]] = {
    "truncated": _truncated,
    "wrong_types": _wrong_types,
    "invalid_utf8": _invalid_utf8,
    "unknown_type": _unknown_type,
    "not_json": _not_json,
}
RUBBISH_KINDS: Final = tuple(_MAKERS)


def rubbish(kind: str, body: str | bytes, choice: random.Random) -> str | bytes:
    """A spoiled copy of a good frame; any kind when none is named. Bytes go as a binary frame."""
    text = body if isinstance(body, str) else body.decode(errors="replace")
    return _MAKERS[kind or choice.choice(RUBBISH_KINDS)](text, choice)
