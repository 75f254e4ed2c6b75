"""Which troubles are told now. A pure rule: what is remembered and the clock are handed in.

- A trouble that lasts is told once it has lasted for `patience`, and once.
- All troubles of a kind that are due go into one notice, and after it no notice of that kind goes
  out for `cool_down`; what comes up meanwhile is told then, if it is still there.
- When a trouble that was told is over, that is told, in one notice a kind, at once.
- What happened and is over (a run failed) is told once, under the same cool-down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from edc_pipeline.alerts.troubles import Trouble
from edc_pipeline.settings_of_days import AlertKind, Alerts

# Held back under a cool-down; a storm of failing runs must not grow without end.
_WAITING_AT_MOST: Final = 200
_NAMED: Final = 20

TITLES: Final[dict[AlertKind, str]] = {
    "capture_down": "capture is down",
    "feed_mute": "feeds are mute",
    "run_failed": "runs failed",
    "check_red": "checks are red: do not trade on these files",
    "disk_short": "the disk is short",
}


class Remembered(msgspec.Struct, kw_only=True):
    kind: AlertKind
    words: str
    since: float
    told: bool = False


class Memory(msgspec.Struct, kw_only=True):
    """Between two looks; small, and all of it is needed."""

    lasting: dict[str, Remembered] = {}
    happened: dict[str, Remembered] = {}  # not told yet
    sent_at: dict[AlertKind, float] = {}


class Notice(msgspec.Struct, kw_only=True, frozen=True):
    title: str
    body: str
    kind: AlertKind
    tone: Literal["failure", "success"]


def look(
    memory: Memory, troubles: Sequence[Trouble], rules: Alerts, now: float
) -> tuple[Memory, list[Notice]]:
    """What is told now, and what to remember when it was told."""
    seen = remember(memory, troubles, rules, now)
    there = {t.key for t in troubles}
    lasting = {key: r for key, r in seen.lasting.items() if key in there}
    over = [r for key, r in seen.lasting.items() if key not in there]
    sent_at, happened = dict(seen.sent_at), dict(seen.happened)
    notices = _over(over) if rules.recovery else []
    for kind in TITLES:
        if kind in sent_at and now < sent_at[kind] + 60 * rules.cool_down_minutes:
            continue
        due = {
            key: r
            for key, r in lasting.items()
            if r.kind == kind and not r.told and now >= r.since + 60 * rules.patience_minutes
        }
        came = {key: r for key, r in happened.items() if r.kind == kind}
        if not due and not came:
            continue
        body = _body([r.words for r in (*due.values(), *came.values())])
        title = f"edc: {TITLES[kind]}"
        notices.append(Notice(title=title, body=body, kind=kind, tone="failure"))
        sent_at[kind] = now
        lasting |= {key: msgspec.structs.replace(r, told=True) for key, r in due.items()}
        happened = {key: r for key, r in happened.items() if key not in came}
    return Memory(lasting=lasting, happened=happened, sent_at=sent_at), notices


def remember(memory: Memory, troubles: Sequence[Trouble], rules: Alerts, now: float) -> Memory:
    """What to remember when nothing could be told: what was told before stays until it is over
    and that was told too; what was not told and is over was none worth telling."""
    heard = [t for t in troubles if t.kind not in rules.mute]
    lasting = {key: r for key, r in memory.lasting.items() if r.told}
    happened = dict(memory.happened)
    for t in heard:
        new = Remembered(kind=t.kind, words=t.words, since=now)
        if not t.happened:
            lasting[t.key] = memory.lasting.get(t.key, new)
        elif len(happened) < _WAITING_AT_MOST:
            happened[t.key] = new
    return Memory(lasting=lasting, happened=happened, sent_at=dict(memory.sent_at))


def _over(gone: Sequence[Remembered]) -> list[Notice]:
    return [
        Notice(
            title=f"edc: over: {TITLES[kind]}",
            body=_body([r.words for r in gone if r.kind == kind]),
            kind=kind,
            tone="success",
        )
        for kind in dict.fromkeys(r.kind for r in gone)
    ]


def _body(words: Sequence[str]) -> str:
    named = [f"- {w[:500]}" for w in words[:_NAMED]]
    more = len(words) - _NAMED
    return "\n".join([*named, *([f"- and {more} more"] if more > 0 else [])])
