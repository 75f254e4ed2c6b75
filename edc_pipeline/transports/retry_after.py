"""Retry-After: for how long a vendor asks us to stay away."""

from __future__ import annotations

import re
from contextlib import suppress
from email.utils import parsedate_to_datetime


def wait_asked_s(text: str, now_ns: int, *, at_most_s: float) -> float:
    """Seconds or an HTTP date → seconds from now; 0 for what is neither, or is past."""
    wait_s = 0.0
    if re.fullmatch(r"\d{1,9}", text):
        wait_s = float(text)
    else:
        with suppress(ValueError, TypeError, OverflowError):
            wait_s = parsedate_to_datetime(text).timestamp() - now_ns / 1e9
    return min(max(wait_s, 0.0), at_most_s)
