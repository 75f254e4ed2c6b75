"""Keys pressed while a command runs, where its input is a terminal."""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edc_pipeline.replay.pacing import LoopPacer, ThreadPacer

_LOOK_S: Final = 0.1
# What a terminal sends for its arrows.
_NAMED: Final = {b"\x1b[C": "right", b"\x1b[D": "left", b"\x1b[A": "up", b"\x1b[B": "down"}

MINUTE_NS: Final = 60 * 10**9
_FASTER: Final = {"+": 2.0, "=": 2.0, "up": 2.0, "-": 0.5, "down": 0.5}
_KEYS: Final = re.compile(rb"\x1b\[[A-D]|[^\x1b]")


@contextmanager
def keys(on_key: Callable[[str], None]) -> Iterator[bool]:
    """Call `on_key` in a thread for each key until the block ends; yields whether there are any.

    Ctrl-C still interrupts. The terminal is as it was afterwards, whatever happens.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield False
        return
    import termios  # noqa: PLC0415 - not on every system
    import tty  # noqa: PLC0415

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    ended = threading.Event()
    reader = threading.Thread(target=_read, args=(descriptor, on_key, ended), daemon=True)
    try:
        tty.setcbreak(descriptor)
        reader.start()
        yield True
    finally:
        ended.set()
        reader.join(2 * _LOOK_S)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read(descriptor: int, on_key: Callable[[str], None], ended: threading.Event) -> None:
    while not ended.is_set():
        ready, _, _ = select.select([descriptor], [], [], _LOOK_S)
        if not ready:
            continue
        pressed = os.read(descriptor, 16)
        if not pressed:
            return
        # Who types fast is read several keys at a time.
        for key in _KEYS.findall(pressed):
            on_key(_NAMED.get(key) or key.decode(errors="replace"))


def move(pacer: LoopPacer | ThreadPacer, key: str) -> None:
    """What a key does to a day that is played. Not back: what was sent can't be taken back."""
    playback = pacer.playback
    if key == " ":
        pacer.do(lambda p: p.resume() if p.paused else p.pause())
    elif key in {".", "n"}:
        pacer.do(lambda p: p.step())
    elif key == "m":
        pacer.do(lambda p: p.set_speed(None))
    elif key in _FASTER:
        speed = min(max((playback.speed or 1.0) * _FASTER[key], 0.1), 10_000.0)
        pacer.do(lambda p: p.set_speed(speed))
    elif key == "right" and playback.position_ns is not None:
        ahead = playback.position_ns + MINUTE_NS
        pacer.do(lambda p: p.seek(ahead))
