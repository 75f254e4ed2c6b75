"""The far end of the benchmark: one process that sends frames rendered beforehand, over TLS.

The path of the request says what: `/<frames>?style=…&rate=…`; rate 0 is as fast as they are read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from capture_styles import STYLES

CHUNK_BYTES = 64 << 10
RENDERED = 300_000  # distinct frames at most, as many as a run takes: numbers must not come again
# A paced sender wakes so often and sends what is due, as packets on a busy line arrive.
TICK_S = 0.001
_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# The first byte of a frame that is whole.
_TEXT, _BINARY = b"\x81", b"\x82"
_CLOSE = b"\x88\x02\x03\xe8"


def serve(certificate: str, key: str, ports: Any, styles: Sequence[str] = ()) -> None:
    for style in styles:  # else at the first request for it
        rendered(style, RENDERED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening = socket.create_server(("127.0.0.1", 0))
    ports.put(listening.getsockname()[1])
    while True:
        plain, _ = listening.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as sock:
            style, count, rate = shake_hands(sock)
            if rate:
                send_paced(sock, rendered(style, count), count, rate)
            else:
                send_bulk(sock, rendered(style, count), count)
            while (said := sock.recv(4096)) and said[0] != _CLOSE[0]:
                pass  # what was subscribed to
            sock.sendall(_CLOSE)


def shake_hands(sock: ssl.SSLSocket) -> tuple[str, int, int]:
    request = b""
    while b"\r\n\r\n" not in request:
        request += sock.recv(4096)
    asked = urlsplit(request.split(b" ")[1].decode())
    told = parse_qs(asked.query)
    count = int(asked.path.strip("/"))
    rendered(told["style"][0], count)  # before the client's clock starts
    key = next(
        line.split(b":", 1)[1].strip()
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    accept = base64.b64encode(hashlib.sha1(key + _KEY).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return told["style"][0], count, int(told["rate"][0])


@cache
def _begun(style: str) -> tuple[int, list[bytes]]:
    return time.time_ns(), []


def rendered(style: str, count: int) -> list[bytes]:
    """The style's frames, `count` of them at least, or as many as there are."""
    began, frames = _begun(style)
    opcode = _BINARY if style in STYLES and STYLES[style].binary else _TEXT
    more = range(len(frames), min(count, RENDERED))
    frames += [framed(body(style, number, began + number * 20_000), opcode) for number in more]
    return frames


def body(style: str, number: int, ns: int) -> bytes:
    if style in STYLES:
        return STYLES[style].row(number, ns)
    # What cryptofeed's Binance hears.
    trade = {"e": "aggTrade", "E": ns // 10**6, "s": "BTCUSDT", "a": number, "p": "89123.45000000"}
    trade |= {"q": "0.00120000", "f": 1, "l": 2, "T": ns // 10**6, "m": True, "M": True}
    return json.dumps({"stream": "btcusdt@aggTrade", "data": trade}, separators=(",", ":")).encode()


def framed(payload: bytes, opcode: bytes) -> bytes:
    if len(payload) < 126:
        return opcode + bytes([len(payload)]) + payload
    return opcode + b"\x7e" + len(payload).to_bytes(2, "big") + payload


def send_bulk(sock: ssl.SSLSocket, frames: list[bytes], count: int) -> None:
    whole, rest = divmod(count, len(frames))
    for part in [frames] * whole + [frames[:rest]]:
        stream = b"".join(part)
        for start in range(0, len(stream), CHUNK_BYTES):
            sock.sendall(stream[start : start + CHUNK_BYTES])


def send_paced(sock: ssl.SSLSocket, frames: list[bytes], count: int, rate: int) -> None:
    began, sent = time.perf_counter(), 0
    while sent < count:
        due = min(count, int((time.perf_counter() - began) * rate))
        if due > sent:
            at = sent % len(frames)
            due = min(due, sent + len(frames) - at)
            sock.sendall(b"".join(frames[at : at + due - sent]))
            sent = due
        time.sleep(TICK_S)


def make_certificate(folder: Path) -> tuple[str, str]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=here"
    words += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return str(certificate), str(key)
