"""A campaign of mutated frames against a vendor's readers: nothing escapes, memory is bounded.

python -m edc_pipeline_tests.vendors.fuzz tiingo 1000000
"""

from __future__ import annotations

import gc
import random
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from edc_pipeline.capture.admission import Admission
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests import dice
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, all_cases

# What breaks readers: numbers at the edge of what is held, other types, brackets, half a character.
_STRANGE: Final = (
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"-1", b"0", b"9007199254740993"),
    *(b"18446744073709551616", b"99999999999999999999", b"1e-320", b'""', b'"nan"', b'"inf"'),
    *(b"[]", b"{}", b"[[[[", b"{", b"}", b"]", b",", b":", b'"', b"\\", b"\\ud800", b"\x00"),
    *(b"\xff\xfe", b"\xe2\x82", b"x" * 200, b"1" * 400, b'{"a":', b"\n", b" "),
)
# Each kind of mutation is drawn once for so many frames: one call of the generator costs as much
# as reading a frame.
_LOOK_EVERY: Final = 10_000


@dataclass
class Campaign:
    vendor: str
    seed: int
    frames: int = 0
    seconds: float = 0.0  # reading alone, without the making of mutations
    outcomes: Counter[str] = field(default_factory=Counter)
    kept_bytes: int | None = None  # what the readers held at the end beyond the beginning, traced

    def __str__(self) -> str:
        rate = self.frames / self.seconds if self.seconds else 0.0
        what = ", ".join(f"{n:,} {outcome}" for outcome, n in self.outcomes.most_common())
        kept = "" if self.kept_bytes is None else f", {self.kept_bytes / 1024:,.0f} KiB kept"
        return (
            f"{self.vendor}: seed {self.seed}: {self.frames:,} mutated frames ({what}),"
            f" {rate:,.0f}/s{kept}"
        )


def mutated(frames: list[bytes], seed: int) -> Iterator[tuple[int, bytes]]:
    """Without end: which of the frames, and it damaged in one to three places."""
    draw = random.Random(seed).random
    count = len(frames)
    while True:
        which = int(draw() * count)
        frame = bytearray(frames[which])
        for _ in range(1 + int(draw() * draw() * 3)):
            at, how = int(draw() * (len(frame) + 1)), int(draw() * 9)
            if how == 0 and at < len(frame):
                frame[at] ^= 1 << int(draw() * 8)
            elif how == 1:
                frame[at:at] = _STRANGE[int(draw() * len(_STRANGE))]
            elif how == 2:
                del frame[at : at + 1 + int(draw() * 8)]
            elif how == 3:
                frame[at:at] = frame[max(0, at - 12) : at]
            elif how == 4:
                del frame[at:]
            elif how == 5:  # a stretch of another frame in this one's place
                other = frames[int(draw() * count)]
                begin = int(draw() * len(other))
                frame[at : at + 10] = other[begin : begin + 20]
            elif how < 8:  # other digits: still a frame, and another number
                for i in range(at, min(at + 20, len(frame))):
                    if 48 <= frame[i] < 58:
                        frame[i] = 48 + int(draw() * 10)
            else:  # a whole value replaced: what stands between two marks
                ends = [e for e in (frame.find(mark, at) for mark in b",}]") if e >= 0]
                frame[at : min(ends, default=at)] = _STRANGE[int(draw() * len(_STRANGE))]
        yield which, bytes(frame)


def _bounded(source: Iterator[tuple[int, bytes]], count: int) -> Iterator[list[tuple[int, bytes]]]:
    for begin in range(0, count, _LOOK_EVERY):
        yield [next(source) for _ in range(min(_LOOK_EVERY, count - begin))]


def campaign(vendor: str, count: int, seed: int) -> Campaign:
    """Read `count` mutated frames; whatever a reader raises comes out of here."""
    rules = VENDORS[vendor]
    cases = [case for case in all_cases() if case.vendor == vendor]
    frames = [case.frame for case in cases]
    asked = {(case.feed, case.symbols) for case in cases}
    decoders = {
        (feed, symbols): rules.decoder(Subscription(feed, symbols)) for feed, symbols in asked
    }
    told = [decoders[case.feed, case.symbols] for case in cases]
    untold = rules.decoder(Subscription(""))  # as `edc decode` without --feed
    admission = Admission(horizon_days=None)
    made = Campaign(vendor, seed)
    before = 0
    # What is kept at first is warmth: spellings seen, patterns compiled. It must not go on growing.
    for some in _bounded(mutated(frames, seed), count):
        began = time.perf_counter()
        for i, (which, frame) in enumerate(some):
            decode = told[which] if i % 2 else untold
            reading = admission.admit(decode(frame, RECEIVED_AT), RECEIVED_AT)
            made.outcomes[reading.outcome] += 1
            made.frames += 1
        made.seconds += time.perf_counter() - began
        if tracemalloc.is_tracing():
            gc.collect()
            held = tracemalloc.get_traced_memory()[0] - sum(
                sys.getsizeof(frame) for _, frame in some
            )
            before = before or held
            made.kept_bytes = held - before
    return made


def main() -> None:
    names = sys.argv[1:2] or list(VENDORS)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    for name in names:
        print(campaign(name, count, dice.seed()))


if __name__ == "__main__":
    main()
