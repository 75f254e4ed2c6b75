"""The session of a feed that is not talked to: what comes is read, nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edc_pipeline.vendors.contract import Decode, Reading, Subscription


class ReadOnly:
    acknowledged = True

    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    def opening(self) -> Sequence[str]:
        return ()

    def read(self, frame: bytes, received_at: int) -> Reading:
        return self._decode(frame, received_at)


def opens(decoder: Callable[[Subscription], Decode]) -> Callable[[Subscription, str], ReadOnly]:
    """The key is for the caller to prove; who reads needs none."""
    return lambda subscription, _secret: ReadOnly(decoder(subscription))
