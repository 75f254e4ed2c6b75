"""A key in whatever spelling a vendor says it again: found and taken out. Pure.

A vendor may echo the key that it refuses: as it is, with its signs percent-encoded or escaped as
JSON does it (`\\"`, `\\/`, `\\u002b`), or as base64. Logs, reports and files must not have it.

Frames are searched on the hot path, so only for what every spelling of a part has in common: its
longest run of letters and digits, which none of them changes, and the like of its base64. A key
without signs takes two searches of a read: 10 ns a frame more than one takes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final

_SHORTEST: Final = 6  # characters; every shorter part is part of many a word
_RUNS: Final = re.compile(r"[A-Za-z0-9]*")
_IN_BASE64: Final = {"+": "[+-]", "/": "[/_]"}  # base64 of addresses has the others


class HiddenKey:
    """A key, its parts between colons, and their spellings."""

    def __init__(self, key: str = "", but: str = "") -> None:
        """`but` is no secret, though it may be a part."""
        self.key: Final = key
        parts = sorted({key, *key.split(":")} - {but}, key=len)
        parts = [part for part in parts if len(part) >= _SHORTEST]
        encoded = [_base64(part) for part in parts]
        # The longest first: it may hold the others.
        spellings = [_spelled(part) for part in reversed(parts)]
        spellings += [_base64_spelled(part) for part in reversed(parts)]
        found = "|".join(spellings)
        self._words = re.compile(found, re.IGNORECASE) if found else None
        self._bytes = re.compile(found.encode()) if found else None
        self._runs: list[bytes] = []
        for text in (*parts, *encoded):
            run = max(_RUNS.findall(text), key=len).encode()
            if not any(known in text.encode() for known in self._runs):
                self._runs.append(run)

    def __repr__(self) -> str:
        return "HiddenKey()"

    def in_words(self, words: str) -> str:
        return self._words.sub("<key>", words) if self._words else words

    def in_frame(self, payload: bytes) -> bytes:
        """Starred out, at the same length."""
        if self._bytes is None or not any(run in payload for run in self._runs):
            return payload
        return self._bytes.sub(lambda found: b"*" * len(found[0]), payload)

    def in_frames(self, payloads: Sequence[bytes]) -> Sequence[bytes]:
        if self._bytes is None:
            return payloads
        joined = payloads[0] if len(payloads) == 1 else b"".join(payloads)
        for run in self._runs:
            if run in joined:
                return [self.in_frame(payload) for payload in payloads]
        return payloads


def _spelled(part: str) -> str:
    return "".join(map(_sign, part))


def _sign(sign: str) -> str:
    if sign.isascii() and sign.isalnum():
        return sign
    percent = "".join(f"%{byte:02x}" for byte in sign.encode("utf-8", "surrogatepass"))
    forms = [_of_either_case(percent), rf"\\u{_of_either_case(f'{ord(sign):04x}')}"]
    forms += [rf"\\{re.escape(sign)}", re.escape(sign)]
    return f"(?:{'|'.join(forms)})"


def _of_either_case(hexadecimal: str) -> str:
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in hexadecimal)


def _base64(part: str) -> str:
    """As much of it as does not depend on what follows."""
    raw = part.encode("utf-8", "surrogatepass")
    return base64.b64encode(raw).decode()[: len(raw) * 8 // 6]


def _base64_spelled(part: str) -> str:
    raw = part.encode("utf-8", "surrogatepass")
    whole, fixed = base64.b64encode(raw).decode().rstrip("="), _base64(part)
    spelled = "".join(f"(?:{_IN_BASE64[c]}|{_sign(c)})" if c in _IN_BASE64 else c for c in fixed)
    return f"{spelled}(?:{_spelled(whole[len(fixed) :])}{_sign('=')}{{0,2}})?"
