"""Our websocket transport beside the receive loop of the `websockets` package.

One server process sends the same frames over TLS on loopback to one client process at a time; what
counts is the CPU time that the client spends per frame, user and system. `bulk`: as fast as the
client reads. `paced`: 10,000 frames a second, each in a packet of its own, where wake-ups dominate.
Prints a table and, as its last line, one JSON object. Ratios can be compared between machines; the
times cannot.

    python benchmarks/transport.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import multiprocessing
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from edc_pipeline.transports.contract import Heard
from edc_pipeline.transports.websocket import Endpoint, keep_connected

FRAMES = {"bulk": 300_000, "paced": 25_000}
PER_SECOND = 10_000
CHUNK_BYTES = 64 << 10
# One trade as Binance sends it: 150 bytes or so.
PAYLOAD = (
    b'{"e":"trade","E":1769101200123,"s":"BTCUSDT","t":%010d,"p":"89123.45000000",'
    b'"q":"0.00120000","T":1769101200122,"m":true,"M":true}'
)
_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


# The server


def frames(count: int) -> list[bytes]:
    made = []
    for number in range(count):
        body = PAYLOAD % number
        made.append(b"\x81\x7e" + len(body).to_bytes(2, "big") + body)
    return made


def serve(certificate: str, key: str, ports: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ready = {mode: frames(count) for mode, count in FRAMES.items()}
    listening = socket.create_server(("127.0.0.1", 0))
    ports.put(listening.getsockname()[1])
    while True:
        plain, _ = listening.accept()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as sock:
            mode = shake_hands(sock)
            (send_bulk if mode == "bulk" else send_paced)(sock, ready[mode])
            while sock.recv(4096):  # until the client has gone
                pass


def shake_hands(sock: ssl.SSLSocket) -> str:
    request = b""
    while b"\r\n\r\n" not in request:
        request += sock.recv(4096)
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
    return request.split(b" ")[1].strip(b"/").decode()


def send_bulk(sock: ssl.SSLSocket, ready: Sequence[bytes]) -> None:
    stream = b"".join(ready)
    for start in range(0, len(stream), CHUNK_BYTES):
        sock.sendall(stream[start : start + CHUNK_BYTES])


def send_paced(sock: ssl.SSLSocket, ready: Sequence[bytes]) -> None:
    began = time.perf_counter()
    for number, frame in enumerate(ready):
        while time.perf_counter() < began + number / PER_SECOND:
            pass  # sleeping is too coarse for 100 µs
        sock.sendall(frame)


# The clients, each in a process of its own


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Counting:
    """A listener that does nothing but count; the first frame starts the clock."""

    def __init__(self, count: int, done: Callable[[], None]) -> None:
        self.left = count
        self.began_s = 0.0
        self.cpu_s = 0.0
        self._done = done
        self._heard = Heard(data=True)

    def opened(self) -> Sequence[str]:
        return ()

    def hear(self, payloads: Sequence[bytes], received_at: int) -> Heard:
        if not self.began_s:
            self.began_s = cpu_s()
        self.left -= len(payloads)
        if not self.left:
            self.cpu_s = cpu_s() - self.began_s
            self._done()
        return self._heard

    def closed(self, reason: str) -> None: ...

    def has_room(self) -> bool:
        return True

    async def room(self) -> None: ...


async def ours(url: str, tls: ssl.SSLContext, count: int) -> float:
    stop = asyncio.Event()
    counting = Counting(count, stop.set)
    await keep_connected(Endpoint(url, tls=tls, close_timeout_s=0.2), counting, stop=stop)
    return counting.cpu_s


async def theirs(url: str, tls: ssl.SSLContext, count: int) -> float:
    async with connect(url, ssl=tls, compression=None, close_timeout=0.2) as connection:
        await connection.recv(decode=False)
        began_s = cpu_s()
        for _ in range(count - 1):
            await connection.recv(decode=False)
        return cpu_s() - began_s


def client(who: str, mode: str, url: str, certificate: str) -> None:
    tls = ssl.create_default_context(cafile=certificate)
    used_s = asyncio.run({"ours": ours, "websockets": theirs}[who](url, tls, FRAMES[mode]))
    print(json.dumps(used_s / FRAMES[mode] * 1e6))


# The comparison


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


def measure(who: str, mode: str, port: int, certificate: str) -> float:
    url = f"wss://127.0.0.1:{port}/{mode}"
    told = subprocess.run(
        [sys.executable, __file__, "--client", who, mode, url, certificate],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return float(json.loads(told.stdout))


def compare(rounds: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = make_certificate(Path(folder))
        ports: Any = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(certificate, key, ports), daemon=True)
        server.start()
        try:
            port = ports.get(timeout=30)
            return {
                mode: {
                    who: statistics.median(
                        measure(who, mode, port, certificate) for _ in range(rounds)
                    )
                    for who in ("ours", "websockets")
                }
                for mode in FRAMES
            }
        finally:
            server.terminate()
            server.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--client", nargs=4, metavar=("WHO", "MODE", "URL", "CERTIFICATE"))
    told = parser.parse_args()
    if told.client:
        client(*told.client)
        return
    # A stuck server must not hold up a build: the whole takes half a minute.
    watchdog = threading.Timer(120, lambda: sys.exit("the benchmark took too long"))
    watchdog.daemon = True
    watchdog.start()
    found = compare(told.rounds)
    print(f"{'CPU µs per frame':<20}{'ours':>10}{'websockets':>14}{'ratio':>10}")
    for mode, used in found.items():
        ratio = used["websockets"] / used["ours"]
        print(f"{mode:<20}{used['ours']:>10.2f}{used['websockets']:>14.2f}{ratio:>9.1f}×")
    figures = {
        f"{mode}_{who}_us": round(us, 3) for mode, used in found.items() for who, us in used.items()
    }
    ratios = {
        f"vs_websockets_{mode}": round(used["websockets"] / used["ours"], 2)
        for mode, used in found.items()
    }
    print(json.dumps({**figures, **ratios, "rounds": told.rounds}))


if __name__ == "__main__":
    main()
