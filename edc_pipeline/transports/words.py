"""What went wrong on the line, in words for an operator. Never the address: it may carry a key."""

from __future__ import annotations

import ssl


def named(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"[:200]
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__
