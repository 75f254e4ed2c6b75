"""A feed's address taken apart: what to dial, which proxy to go through, what must stay hidden."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class NotAnAddress(Exception):
    """No websocket address. Says nothing more: an address may carry a key."""


@dataclass(frozen=True, slots=True)
class Address:
    # Without name and password: picows would send them in the Host header.
    url: str = field(repr=False)
    secure: bool
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    proxy: str | None = field(repr=False)


def read_address(url: str, query: Mapping[str, str] = _NOTHING) -> Address:
    """The address with this query behind its own."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port  # a port that is no number raises here
        if parts.scheme not in {"ws", "wss"} or not host or parts.fragment or not _printable(url):
            raise NotAnAddress
        host = host.encode("idna").decode() if not host.isascii() else host
    except ValueError:
        raise NotAnAddress from None
    secure = parts.scheme == "wss"
    asked = "&".join(filter(None, (parts.query, urlencode(query, safe="/:@,", quote_via=quote))))
    authority = f"[{host}]" if ":" in host else host
    if port is not None:
        authority += f":{port}"
    return Address(
        url=urlunsplit((parts.scheme, authority, parts.path, asked, "")),
        secure=secure,
        headers=_authorization(parts),
        proxy=_proxy_for(host, secure),
    )


def _printable(url: str) -> bool:
    # A blank or a control character would end the request line.
    return url.isprintable() and " " not in url


def _authorization(parts: SplitResult) -> tuple[tuple[str, str], ...]:
    if parts.username is None:
        return ()
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return (("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),)


def _proxy_for(host: str, secure: bool) -> str | None:
    """The environment's proxy, by the rules that curl and the `websockets` package share."""
    if proxy_bypass(host):
        return None
    known = getproxies()
    schemes = ("wss", "socks", "https") if secure else ("ws", "socks", "https", "http")
    for scheme in schemes:
        if proxy := known.get(scheme):
            return proxy if "://" in proxy else f"http://{proxy}"
    return None
