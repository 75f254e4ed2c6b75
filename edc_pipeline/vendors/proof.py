"""How a caller proves who he is. Pure: bytes, a secret and the clock in; a reason or nothing out.

Compared in constant time, over the bytes as they came: a body that was read and written again has
other bytes, and another signature. The reasons are counted by, so they name nothing of a request.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

NO_SECRET: Final = "no secret"  # noqa: S105 - a reason
WRONG_SECRET: Final = "wrong secret"  # noqa: S105 - a reason
NO_SIGNATURE: Final = "no signature"
WRONG_SIGNATURE: Final = "wrong signature"
NO_TIMESTAMP: Final = "no time stamp"
STALE_TIMESTAMP: Final = "stale time stamp"

FRESH_S: Final = 300  # either way: neither clock is trusted more than the other
_LONGEST: Final = 512  # of a signature or stamp as text

STAMP_UNITS: Final[Mapping[str, int]] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def same(told: str, secret: str) -> bool:
    return hmac.compare_digest(told.encode("utf-8", "surrogatepass"), secret.encode())


def check_secret(told: str | None, secret: str) -> str | None:
    if not told:
        return NO_SECRET
    return None if same(told, secret) else WRONG_SECRET


def check_signature(told: str | None, signed: bytes, secret: str, encoding: str) -> str | None:
    """HMAC-SHA256 of `signed`, told in hex or base64."""
    if not told:
        return NO_SIGNATURE
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    if encoding == "base64":
        return None if same(told[:_LONGEST], base64.b64encode(digest).decode()) else WRONG_SIGNATURE
    return None if same(told[:_LONGEST].lower(), digest.hex()) else WRONG_SIGNATURE


def check_stamp(told: str | None, unit: str, now_ns: int) -> str | None:
    """Whether a time stamp of the signed text is of now."""
    if not told:
        return NO_TIMESTAMP
    try:
        stamp = Decimal(told.strip()[:40])
    except (InvalidOperation, ValueError):
        return NO_TIMESTAMP
    if not stamp.is_finite():
        return NO_TIMESTAMP
    # Compared as they are: a difference of ten to the millionth is no number that Decimal has.
    earliest, latest = (now_ns + way * FRESH_S * 10**9 for way in (-1, 1))
    unit_ns = STAMP_UNITS[unit]
    fresh = Decimal(earliest) / unit_ns <= stamp <= Decimal(latest) / unit_ns
    return None if fresh else STALE_TIMESTAMP


def digest_of(*parts: bytes) -> str:
    """One key for a whole message; parts can't run into each other."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()
