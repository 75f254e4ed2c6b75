"""What a transport needs from the room above it. A transport brings bytes; it knows no vendor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Heard:
    """What the frames of a read meant for the connection that brought them."""

    data: bool = False  # the feed really delivers: from now on the back-off may start anew
    replies: Sequence[str] = field(default=(), repr=False)  # a login holds the key
    give_up: str = ""  # why no reconnect will help; empty: go on
    reconnect: str = ""  # why this connection is of no more use; empty: go on
    ending: bool = False  # the far end has said that it will close before long


def together(meant: Sequence[Heard]) -> Heard:
    """What frames meant one by one, as one."""
    return Heard(
        data=any(heard.data for heard in meant),
        replies=[reply for heard in meant for reply in heard.replies],
        give_up=next((heard.give_up for heard in meant if heard.give_up), ""),
        reconnect=next((heard.reconnect for heard in meant if heard.reconnect), ""),
        ending=any(heard.ending for heard in meant),
    )


class Listener(Protocol):
    """One connection's other end. All calls come from the event loop; none may block.

    Calls follow the order of the bytes: `opened`, then `hear` for each read of the socket that
    brought messages, then `closed`. They are made while the socket is being read, so a slow one
    delays every other connection.
    """

    def opened(self) -> Sequence[str]:
        """Connected: the messages to send first."""
        ...

    def hear(self, payloads: Sequence[bytes], received_at: int) -> Heard:
        """The frames of one read, in their order; at least one. Must not raise."""
        ...

    def closed(self, reason: str) -> None:
        """The connection ended, or could not be made."""
        ...

    def has_room(self) -> bool:
        """Whether more frames may come. Asked once per read, after its frames.

        On False the socket is not read again until `room` returns, so that the vendor's sends
        block. The frames of the read under way (`conversation.READ_BYTES`) have been handed over.
        """
        ...

    async def room(self) -> None:
        """Returns when there is room for more frames: back-pressure."""
        ...


@dataclass(slots=True)
class Speech:
    """A listener's way to speak unasked. The transport sets `say` while a connection stands."""

    say: Callable[[Sequence[str]], None] | None = None


class GaveUp(Exception):
    """No reconnect will help: the message says why."""
