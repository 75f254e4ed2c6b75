"""The test's side of `shim.c`: it is compiled, and its rules are set while a process runs."""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# As in shim.c.
CALLS: Final = {
    "write": 1,
    "sync": 2,
    "truncate": 4,
    "rename": 8,
    "create": 16,
    "unlink": 32,
    "read": 64,
    "close": 128,
    "mkdir": 256,
}
_REFUSE, _SHORT, _DELAY = 1, 2, 3
_RULE: Final = struct.Struct("=IIIiIIIIQQQ64s")
_SEEN_AT: Final = 40
_RULES: Final = 16
_ALWAYS: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls which calls on which files."""

    what: str  # EIO, ENOSPC … the name of an errno; "short"; "slow"
    calls: tuple[str, ...]
    path: str  # a part of it
    after: int = 0  # calls that pass first
    times: int = 0  # how many are struck then; 0: all, until it is lifted
    share: float = 1.0
    delay_ms: int = 0
    seed: int = 1

    def packed(self) -> bytes:
        number = getattr(errno, self.what, 0)
        kind = {"short": _SHORT, "slow": _DELAY}.get(self.what, _REFUSE)
        assert number or kind != _REFUSE, self.what
        calls = sum(CALLS[call] for call in self.calls)
        share = int(self.share * _ALWAYS)
        path = self.path.encode()
        assert len(path) < 64
        return _RULE.pack(
            *(0, calls, kind, number, self.delay_ms, self.after, self.times, share),
            *(self.seed, 0, 0, path),
        )

    def __str__(self) -> str:
        return f"{self.what} on {'/'.join(self.calls)} of *{self.path}*"


def why_not() -> str:
    """Why there can be no shim here; empty where there can."""
    if not sys.platform.startswith("linux"):
        return "faults are injected with LD_PRELOAD, on Linux alone"
    return "" if shutil.which("cc") else "no C compiler (cc) to build the shim with"


def build(folder: Path) -> Path:
    library = folder / "faults.so"
    words = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library)]
    source = Path(__file__).with_name("shim.c")
    subprocess.run([*words, str(source), "-ldl"], check=True)
    return library


def room_for_rules(path: Path) -> Path:
    path.write_bytes(bytes(_RULES * _RULE.size))
    return path


class Faults:
    """The rules of the processes that were started with `environ`."""

    def __init__(self, library: Path, rules: Path) -> None:
        with rules.open("r+b") as file:
            self._rules = mmap.mmap(file.fileno(), 0)
        self.environ = {"LD_PRELOAD": str(library), "FAULTS_RULES": str(rules)}

    @contextmanager
    def inject(self, *faults: Fault) -> Iterator[list[Struck]]:
        """While this lasts; what each strikes is counted."""
        begun = [self.begin(fault) for fault in faults]
        try:
            yield begun
        finally:
            for one in begun:
                self.lift(one)

    def begin(self, fault: Fault) -> Struck:
        place = next(i for i in range(_RULES) if not self._active(i))
        at = place * _RULE.size
        self._rules[at : at + _RULE.size] = fault.packed()
        struct.pack_into("=I", self._rules, at, 1)  # last: it is whole when it is seen
        return Struck(fault, place, self._rules)

    def lift(self, struck: Struck) -> None:
        struct.pack_into("=I", self._rules, struck.place * _RULE.size, 0)

    def _active(self, place: int) -> bool:
        return bool(struct.unpack_from("=I", self._rules, place * _RULE.size)[0])


@dataclass(frozen=True, slots=True)
class Struck:
    fault: Fault
    place: int
    rules: mmap.mmap

    def _counts(self) -> tuple[int, int]:
        at = self.place * _RULE.size + _SEEN_AT
        seen, struck = struct.unpack_from("=QQ", self.rules, at)
        return seen, struck

    @property
    def seen(self) -> int:
        return self._counts()[0]

    @property
    def times(self) -> int:
        return self._counts()[1]
