"""Keys pressed while a command runs, where its input is a terminal."""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 0.1
# What a terminal sends for its arrows.
_NAMED: Final = {b"\x1b[C": "right", b"\x1b[D": "left", b"\x1b[A": "up", b"\x1b[B": "down"}

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
