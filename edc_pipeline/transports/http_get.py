"""One GET: bounded in time and size, conditional, with the key kept out of all that is told.

No redirect is followed: it would carry the key to wherever it points. Certificates are verified.
A proxy is taken from the environment (`https_proxy`, `http_proxy`, unless `no_proxy` names the
host); a SOCKS proxy is refused in words. What aiohttp raises bears the address, and so the key:
its texts are never passed on.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from edc_pipeline import __version__
from edc_pipeline.hidden_key import HiddenKey
from edc_pipeline.transports.retry_after import wait_asked_s

# A daily quota may ask for so much; what asks for more is asked again tomorrow.
LONGEST_RETRY_AFTER_S: Final = 86_400.0
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Get:
    """What is asked, again and again."""

    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str = field(default="", repr=False)  # is taken out of a body that echoes it
    max_body_bytes: int = 1 << 20
    timeout_s: float = 20.0  # name, TCP, TLS, answer and body together


@dataclass(frozen=True, slots=True)
class Validators:
    """What the vendor gave with its last answer, to ask whether it changed since."""

    etag: str = ""
    last_modified: str = ""

    def headers(self) -> dict[str, str]:
        told = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: text for name, text in told.items() if text}


NOTHING_KNOWN: Final = Validators()


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    body: bytes
    received_at: int  # ns, when the body was whole
    validators: Validators
    wait_s: float = 0.0  # the vendor asks to be left alone for so long


class NoAnswer(Exception):
    """There was none, or none that can be used. The message says why, without the address."""


def new_session() -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"edc_pipeline/{__version__}", "Accept": "application/json, */*"},
        connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
        trust_env=False,  # it would read .netrc as well, and send what stands there
    )
    # aiohttp sends a GET again on its own where the connection broke: a request that no budget
    # knows of. There is no public switch; a test counts the requests.
    session._retry_connection = False
    return session


async def get(
    session: aiohttp.ClientSession, asked: Get, known: Validators, clock: Callable[[], int]
) -> Got:
    """Ask once. `NoAnswer` for everything but a whole answer."""
    try:
        async with session.get(
            asked.url,
            params={**asked.query, **asked.secret_query},
            headers={**asked.headers, **known.headers()},
            allow_redirects=False,
            proxy=_proxy_for(asked.url),
            timeout=aiohttp.ClientTimeout(total=asked.timeout_s),
        ) as response:
            body = await _body(response, asked.max_body_bytes)
            return _got(response, _without(asked.secret, body), clock())
    except NoAnswer:
        raise
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        raise NoAnswer(_told(error)) from None


def _got(response: aiohttp.ClientResponse, body: bytes, now_ns: int) -> Got:
    headers = response.headers
    return Got(
        response.status,
        body,
        now_ns,
        Validators(headers.get("ETag", "")[:1000], headers.get("Last-Modified", "")[:100]),
        wait_asked_s(headers.get("Retry-After", ""), now_ns, at_most_s=LONGEST_RETRY_AFTER_S),
    )


async def _body(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    told = response.content_length
    parts, size = [], 0
    if told is None or told <= at_most:
        async for part in response.content.iter_chunked(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > at_most:
                break
        else:
            return b"".join(parts)
    response.close()  # what is left of it is not wanted
    raise NoAnswer(f"the answer is longer than {at_most:,} bytes")


def _without(secret: str, body: bytes) -> bytes:
    """Some vendors write the key into their refusals (Alpha Vantage: "We have detected your API
    key as …"); the body goes to the disk."""
    return _hidden(secret).in_frame(body)


@lru_cache(maxsize=64)
def _hidden(secret: str) -> HiddenKey:
    return HiddenKey(secret)


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    known = getproxies()
    if not known or proxy_bypass(host):
        return None
    proxy = known.get(parts.scheme) or known.get("all")
    if not proxy:
        return None
    if proxy.startswith("socks"):
        raise NoAnswer("polling goes through no SOCKS proxy; set https_proxy to an HTTP proxy")
    return proxy if "://" in proxy else f"http://{proxy}"


def _told(error: BaseException) -> str:
    """In words of our own, by the kind of error."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            why = error.certificate_error
            told = why.verify_message if isinstance(why, ssl.SSLCertVerificationError) else ""
            return f"the server's certificate is not trusted: {told}".removesuffix(": ")
        case aiohttp.ClientConnectorDNSError():
            return "the server's name is not known"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return "the proxy does not let us through"
        case aiohttp.ClientConnectorError():
            return f"can't connect: {error.os_error.strerror or type(error.os_error).__name__}"
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "the answer ended before its end, or can't be unpacked"
        case ValueError():  # aiohttp.InvalidURL is one; so is a line end in a header
            return "the address or the key is not fit for HTTP"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
        case OSError():
            return f"the connection broke: {error.strerror or type(error).__name__}"
    return f"no answer: {type(error).__name__}"
