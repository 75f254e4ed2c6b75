"""The vendors' sides of connections that are no more, to read their frames again."""

from __future__ import annotations

from edc_pipeline.capture.changes import open_session
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import ChangesInPlace, Session, Subscription


class PastSessions:
    """One for each connection, as capture had it: its frames come in their order."""

    def __init__(self) -> None:
        self._by_connection: dict[str, tuple[Line, Session | None]] = {}

    def of(self, line: Line) -> Session | None:
        """None: no vendor of that name is known any more."""
        known = self._by_connection.get(line.connection)
        if known is not None and known[0].number == line.number:
            return known[1]
        session = session_of(line) if known is None else _gone_on(*known, line)
        self._by_connection[line.connection] = line, session
        return session


def _gone_on(was: Line, session: Session | None, line: Line) -> Session | None:
    """The connection's session, once it asked for what this line says."""
    asked = subscription_of(line)
    if asked == subscription_of(was):
        return session
    if isinstance(session, ChangesInPlace) and session.change(asked) is not None:
        return session
    return session_of(line)  # what it had learned by then is not among the frames read again


def session_of(line: Line) -> Session | None:
    """It reads; it sends nothing, so no key."""
    vendor = VENDORS.get(line.vendor)
    return open_session(vendor, subscription_of(line), "") if vendor is not None else None


def subscription_of(line: Line) -> Subscription:
    classes = dict(line.asset_classes)
    return Subscription(line.feed, line.symbols, line.options, classes)  # type: ignore[arg-type]
