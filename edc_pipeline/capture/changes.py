"""What a poll says anew: answers repeat themselves until something happens.

Wraps a vendor's session of a polled feed. Pure, and used by capture and recovery alike. What it
remembers ends with its connection, so after a restart, or a recovery, each symbol is stated once
more; the daily file has it once (`IdentityRule`, by content).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from edc_pipeline.events import AnyEvent, RefPx, content_key
from edc_pipeline.market_day import DayFinder
from edc_pipeline.vendors.contract import (
    EVERY_POLL,
    Control,
    Polling,
    Reading,
    Session,
    Subscription,
    Vendor,
)


class Changes:
    """The session's events without those that an earlier answer told."""

    def __init__(self, session: Session, polling: Polling, *, every_poll: bool = False) -> None:
        self._session = session
        self._polling = polling
        self._every_poll = every_poll
        self._day_of = DayFinder()
        # By symbol, kind and venue: the latest statements.
        self._stated: dict[tuple[object, ...], deque[tuple[object, ...]]] = {}
        self.said: Control | None = None  # of the latest answer
        self.unreadable = False

    def opening(self) -> Sequence[str]:
        return self._session.opening()

    @property
    def acknowledged(self) -> bool:
        return self._session.acknowledged

    def read(self, frame: bytes, received_at: int) -> Reading:
        self.said, self.unreadable = None, True  # unless it is read, as it should be
        reading = self._session.read(frame, received_at)
        if reading.events:
            if self._every_poll:
                _make_distinct(reading.events, received_at)
            else:
                reading.events = [event for event in reading.events if self._is_new(event)]
            if not reading.events and not reading.faults and reading.control is None:
                reading.control = Control("unchanged")
        self.said, self.unreadable = reading.control, reading.outcome == "quarantined"
        return reading

    def _is_new(self, event: AnyEvent) -> bool:
        kind = event.kind if isinstance(event, RefPx) else ""
        key = event.event_type, event.symbol, event.venue, kind
        restated = isinstance(event, RefPx) and kind in self._polling.restated
        content: tuple[object, ...] = content_key(event)
        if restated and event.ts_source == "vendor":
            content = (self._day_of(event.ts_event), *content[2:])
        stated = self._stated.get(key)
        if stated is None:
            # Without a time of its own, a price that comes back is news.
            once = restated or event.ts_source == "receive"
            stated = deque(maxlen=1 if once else self._polling.remembers)
            self._stated[key] = stated
        if content in stated:
            return False
        stated.append(content)
        return True


def _make_distinct(events: Sequence[AnyEvent], received_at: int) -> None:
    """Each answer is wanted, changed or not: then each is an event with an id of its own."""
    for event in events:
        event.event_id = event.event_id or f"poll {received_at}"


def open_session(vendor: Vendor, subscription: Subscription, secret: str) -> Session:
    """A session of any feed, as its frames are to be read."""
    spec = vendor.feeds.get(subscription.feed)
    if spec is None or spec.polling is None:
        return vendor.open_session(subscription, secret)
    every_poll = bool(subscription.options.get(EVERY_POLL, False))
    options = {name: v for name, v in subscription.options.items() if name != EVERY_POLL}
    asked = Subscription(
        subscription.feed, subscription.symbols, options, subscription.asset_classes
    )
    return Changes(vendor.open_session(asked, secret), spec.polling, every_poll=every_poll)
