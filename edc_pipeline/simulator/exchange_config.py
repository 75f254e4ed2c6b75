"""What an exchange is told before it opens: whose protocol, which market, what goes wrong."""

from __future__ import annotations

import math
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edc_pipeline.simulator.connection import WhenSlow
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.simulator.market import Pace
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.speakers import SPEAKERS
from edc_pipeline.simulator.truth import KEEP_FRAMES

TICKS_PER_TURN: Final = 256  # of the market, between two chances for the senders


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeConfig:
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one, told by Exchange.port
    symbols: Sequence[str] | None = None  # None: all of instruments.LISTED
    seed: int = 0
    rate: float = 200.0  # ticks per second over all instruments; `pace` says more
    pace: Pace | None = None
    vendor: str = "tiingo"  # whose protocol, of speakers.SPEAKERS
    terms: Terms = field(default_factory=Terms)
    heartbeat_s: float | None = None  # None: as the vendor does
    ends_after_s: float | None = None  # every connection, however it behaves (Binance: 24 hours)
    chaos: Chaos = field(default_factory=Chaos)
    resend_on_subscribe: int = 0  # data frames that a returning subscription gets once more
    events: int | None = None  # stop the market after so many data frames were made
    seconds: float | None = None  # stop the market after so long
    script_start_ns: int | None = None
    audience: int = 1
    outbox_frames: int = 20_000
    when_slow: WhenSlow = "disconnect"
    max_message_bytes: int = 64 * 1024
    max_connections: int = 256
    keep_frames: int = KEEP_FRAMES
    truth_file: Path | None = None
    ssl: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if self.vendor not in SPEAKERS:
            raise ValueError(f"vendor: {self.vendor!r} is none of {', '.join(sorted(SPEAKERS))}")
        for name in ("heartbeat_s", "ends_after_s", "seconds", "events"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}: {value} is not a number above 0")
        if self.resend_on_subscribe < 0:
            raise ValueError(f"resend_on_subscribe: {self.resend_on_subscribe} is negative")
        if self.outbox_frames <= max(4 * TICKS_PER_TURN, self.resend_on_subscribe):
            raise ValueError(
                f"outbox_frames: {self.outbox_frames} must be more than {4 * TICKS_PER_TURN} "
                "and than resend_on_subscribe"
            )


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
