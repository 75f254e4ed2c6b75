"""Posts what a sender makes, over HTTP, and tries again as senders do.

A 2xx is an end, and so is a refusal (4xx but 408 and 429). Anything else, no answer in time
included, is tried again, the same bytes, with growing pauses or after what Retry-After says.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp

from edc_pipeline.simulator.senders import Post


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    answer_s: float = 5.0
    tries: int = 6
    first_pause_s: float = 0.2
    longest_pause_s: float = 10.0


@dataclass(slots=True)
class Posted:
    """What became of the requests."""

    accepted: list[Post] = field(default_factory=list)
    refused: list[tuple[Post, int]] = field(default_factory=list)  # and with which status
    given_up: list[Post] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)  # statuses, and what came instead


_AGAIN = frozenset({408, 429})


async def post_all(
    url: str, posts: Iterable[Post], *, patience: Patience | None = None, at_once: int = 4
) -> Posted:
    patience = patience or Patience()
    posted, queue = Posted(), iter(posts)

    async def work(session: aiohttp.ClientSession) -> None:
        for post in queue:
            await _deliver(session, url, post, patience, posted)

    timeout = aiohttp.ClientTimeout(total=patience.answer_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await asyncio.gather(*(work(session) for _ in range(at_once)))
    return posted


async def _deliver(
    session: aiohttp.ClientSession, url: str, post: Post, patience: Patience, posted: Posted
) -> None:
    pause_s = patience.first_pause_s
    for _ in range(patience.tries):
        wait_s = pause_s
        try:
            async with session.post(
                url + post.path, data=post.body, headers=post.headers, allow_redirects=False
            ) as answer:
                await answer.read()
                status = answer.status
                wait_s = max(wait_s, float(answer.headers.get("Retry-After", "0")))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            posted.answers[type(error).__name__] += 1
        else:
            posted.answers[str(status)] += 1
            if 200 <= status < 300:
                posted.accepted.append(post)
                return
            if 400 <= status < 500 and status not in _AGAIN:
                posted.refused.append((post, status))
                return
        await asyncio.sleep(wait_s)
        pause_s = min(2 * pause_s, patience.longest_pause_s)
    posted.given_up.append(post)
