"""What is said on one connection, from its first frame to its end. On picows' core API.

picows parses frames in C and calls us for each, some 15 times cheaper per frame than an awaited
receive. It leaves to us: joining fragments, reserved bits, back-pressure, and an orderly close.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
)

from edc_pipeline.transports.backoff import Backoff
from edc_pipeline.transports.contract import Heard, Listener, Speech
from edc_pipeline.transports.endpoint import Endpoint
from edc_pipeline.transports.outgoing import Outgoing
from edc_pipeline.transports.words import named

# At most so many bytes reach the parser at once. picows hands over all frames of a read in one go
# and doubles its buffer whenever a read fills it: unbounded, a burst of 10 MB grew the buffer to
# megabytes and held the loop for as long as their frames took. The frames of a read are taken
# together: twelve TLS records (of 16 KiB) at once cost capture a sixth less per event than two,
# and hold the loop for 2 ms.
# The TLS layer is given TLS_BYTES of the socket at a time; with what OpenSSL keeps of a record
# begun before (16 KiB) that fits into one read, so that a pause strands nothing in between.
TLS_BYTES: Final = (192 << 10) + 256
READ_BYTES: Final = 211 << 10
# The parser's buffer. It doubles when less than a tenth is left: that tenth must hold a read.
BUFFER_BYTES: Final = 2304 << 10
# What we said and the vendor does not read. Subscriptions of 100,000 symbols take about 1 MiB.
_UNREAD_BYTES: Final = 8 << 20

# Looked up once: the enum's members cost 20 ns each time.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY


class Conversation(WSListener):
    """Hears frames, answers, watches for death. `hold` returns why it ended."""

    def __init__(
        self,
        endpoint: Endpoint,
        listener: Listener,
        backoff: Backoff,
        clock: Callable[[], int],
        speech: Speech | None = None,
    ) -> None:
        self.give_up = ""
        self._endpoint = endpoint
        self._speech = speech
        self._outgoing = Outgoing(self._send_one, endpoint.messages_per_s)
        self._listener = listener
        self._take = listener.hear
        self._has_room = listener.has_room
        self._backoff = backoff
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._line: WSTransport | None = None
        self._delivers_since_s: float | None = None
        self._read: list[bytes] = []  # the messages of the read under way
        self._parts: bytearray | None = None  # of a message in fragments
        self._received_at = 0  # by the clock handed in; one value per read
        self._read_s = 0.0  # when any bytes came
        self._heard_s = 0.0  # when a message came
        self._reason = ""
        self._parting = False  # our close frame is out, or must not go out any more
        self._deaf = False  # nothing that comes now is heard
        self._failure: Exception | None = None  # the listener's, which must not raise
        self._cut_by: Exception | None = None
        self._cutting: asyncio.TimerHandle | None = None
        self._waiting_for_room: asyncio.Task[None] | None = None

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._line = transport
        below = transport.underlying_transport
        below.set_protocol(_Reads(cast(asyncio.BufferedProtocol, below.get_protocol()), self))
        self._stamp()
        self._heard_s = self._read_s
        if self._speech is not None:
            self._speech.say = self._send
        try:
            self._send(self._listener.opened())
        except Exception as error:
            self._fail(error)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._deaf:
            return
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise self._broken("a reserved bit is set: compressed, which we did not offer")
        kind = frame.msg_type
        if kind is _TEXT or kind is _BINARY:
            if self._parts is not None:
                raise self._broken("a new message inside a fragmented one")
            if frame.fin:
                self._read.append(frame.get_payload_as_bytes())
            else:
                self._parts = bytearray(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CONTINUATION:
            self._continue(frame)
        elif kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            self._outgoing.count()
            self._check_unread(transport)
        elif kind is WSMsgType.CLOSE:
            self._close_arrived(transport, frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._deaf = True
        self._fall_silent()
        if self._cutting is not None:
            self._cutting.cancel()

    def pause_writing(self) -> None:
        """The vendor reads slowly: `_check_unread` sets the limit."""

    def resume_writing(self) -> None:
        """The vendor reads again."""

    # Reading

    def _stamp(self) -> None:
        self._received_at = self._clock()
        self._read_s = self._loop.time()

    def read_begins(self) -> bool:
        """Whether these bytes are still wanted."""
        self._stamp()
        if self._line is not None and self._line.is_close_frame_sent and not self._parting:
            # picows itself ended this over a broken frame and lets go of the socket in 10 ms.
            # Until then it would hand over the payload of a frame that it refused as too large.
            self._deaf = True
        return not self._deaf

    def read_ended(self) -> None:
        self._hand_over()
        if self._has_room() or self._waiting_for_room is not None or self._line is None:
            return
        self._line.underlying_transport.pause_reading()
        self._waiting_for_room = self._loop.create_task(self._wait_for_room(self._line))

    def cut(self, error: Exception | None) -> None:
        self._cut_by = error

    async def _wait_for_room(self, line: WSTransport) -> None:
        try:
            await self._listener.room()
        except Exception as error:
            self._fail(error)
        finally:
            # The silence was ours.
            self._read_s = self._heard_s = self._loop.time()
            self._waiting_for_room = None
            line.underlying_transport.resume_reading()

    # Frames

    def _continue(self, frame: WSFrame) -> None:
        parts = self._parts
        if parts is None:
            raise self._broken("a continuation of nothing")
        limit = self._endpoint.max_frame_bytes
        if len(parts) + frame.payload_size > limit:
            raise self._broken(
                f"a message of more than {limit} bytes, in fragments",
                WSCloseCode.MESSAGE_TOO_BIG,
            )
        parts += frame.get_payload_as_bytes()
        if frame.fin:
            self._parts = None
            self._read.append(bytes(parts))

    def _hand_over(self) -> None:
        payloads, self._read = self._read, []
        if self.give_up or not payloads:
            return
        self._heard_s = self._read_s
        try:
            heard = self._take(payloads, self._received_at)
        except Exception as error:
            self._fail(error)
            return
        if heard.data and self._delivers_since_s is None:
            self._delivers_since_s = self._loop.time()
            self._backoff.begins_to_deliver()
        if heard.replies or heard.reconnect or heard.give_up:
            self._act(heard)

    def _act(self, heard: Heard) -> None:
        self._send(heard.replies)
        if heard.give_up:
            self.give_up = heard.give_up
            self.end(heard.give_up)
        elif heard.reconnect:
            self.end(heard.reconnect)

    def _send(self, messages: Sequence[str]) -> None:
        if not messages:
            return
        self._outgoing.say(messages)
        if self._outgoing.waiting_bytes > _UNREAD_BYTES:
            self._reason = self._reason or "the vendor makes us answer faster than we may"
            self.abort()

    def _send_one(self, message: str) -> None:
        line = self._line
        assert line is not None
        line.send(_TEXT, message)
        self._check_unread(line)

    def _check_unread(self, line: WSTransport) -> None:
        if line.underlying_transport.get_write_buffer_size() > _UNREAD_BYTES:
            self._reason = self._reason or "the vendor does not read what we send"
            self.abort()

    def _fall_silent(self) -> None:
        self._outgoing.close()
        if self._speech is not None:
            self._speech.say = None

    # The end

    def end(self, reason: str) -> None:
        """Begin the closing handshake. What the vendor sent before it answers is still heard."""
        if self._parting or self._line is None:
            return
        self._reason = self._reason or reason
        self._parting = True
        self._fall_silent()
        self._line.send_close(WSCloseCode.OK)
        self._abort_after_timeout()

    def abort(self) -> None:
        self._deaf = True
        self._fall_silent()
        if self._line is not None:
            self._line.disconnect(False)

    def _abort_after_timeout(self) -> None:
        if self._cutting is None:
            self._cutting = self._loop.call_later(self._endpoint.close_timeout_s, self.abort)

    def _close_arrived(self, line: WSTransport, payload: bytes) -> None:
        """picows has checked it: no payload, or a valid code and UTF-8."""
        self._hand_over()
        self._deaf = True
        self._fall_silent()
        code = int.from_bytes(payload[:2], "big")
        if not self._parting:
            self._parting = True
            self._reason = self._reason or _closed(code, payload[2:].decode())
            # No code, or the one that must never be sent, is answered as a normal close.
            answer = WSCloseCode.OK if code in {0, 1006} else cast(WSCloseCode, code)
            line.send_close(answer)
        line.disconnect()
        self._abort_after_timeout()

    def _broken(self, what: str, code: WSCloseCode = WSCloseCode.PROTOCOL_ERROR) -> WSProtocolError:
        """For raising: picows then sends the close frame and lets go of the socket."""
        self._hand_over()
        self._deaf = True
        self._parting = True
        return WSProtocolError(code, what)

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self.abort()

    async def hold(self, stop: asyncio.Event) -> str:
        assert self._line is not None
        watchers = [
            asyncio.create_task(self._end_when_stopped(stop)),
            asyncio.create_task(self._end_when_stale()),
            asyncio.create_task(self._abort_when_half_open()),
            asyncio.create_task(self._keep_alive()),
        ]
        self.read_ended()  # frames that came with the handshake may have filled the room already
        try:
            await self._line.wait_disconnected()
        except WSProtocolError as broken:
            self._reason = self._reason or _closed(int(broken.code), str(broken))
        finally:
            self.abort()
            if self._waiting_for_room is not None:
                watchers.append(self._waiting_for_room)
            for watcher in watchers:
                watcher.cancel()
            await asyncio.gather(*watchers, return_exceptions=True)
        if self._delivers_since_s is not None:
            self._backoff.delivered(self._loop.time() - self._delivers_since_s)
        if self._failure is not None:
            raise self._failure
        return self._reason or self._cut_reason()

    def _cut_reason(self) -> str:
        cause = f" ({named(self._cut_by)})" if self._cut_by is not None else ""
        return f"the connection was cut without a close frame{cause}"

    # Watching

    async def _end_when_stopped(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.end("stopped")

    async def _end_when_stale(self) -> None:
        stale_after_s = self._endpoint.stale_after_s
        while True:
            silent_s = self._loop.time() - self._heard_s
            if silent_s < stale_after_s:
                await asyncio.sleep(stale_after_s - silent_s)
            elif self._waiting_for_room is not None:
                await asyncio.wait({self._waiting_for_room})
            else:
                self.end(f"silent for {silent_s:.0f} s")
                return

    async def _keep_alive(self) -> None:
        if (keepalive := self._endpoint.keepalive) is not None:
            text, every_s = keepalive
            while not self._parting:
                await asyncio.sleep(every_s)
                if not self._outgoing.waiting_bytes:  # else we are speaking anyway
                    self._send((text,))

    async def _abort_when_half_open(self) -> None:
        """Anything read after our ping proves that the far end lives: where the vendor is behind
        with its data, the pong stands at the end of the queue."""
        every_s, timeout_s = self._endpoint.ping_every_s, self._endpoint.ping_timeout_s
        await asyncio.sleep(every_s)
        while True:
            assert self._line is not None
            self._line.send_ping(b"")
            self._outgoing.count()
            pinged_s = self._loop.time()
            await asyncio.sleep(timeout_s)
            if self._read_s < pinged_s and self._waiting_for_room is None:
                self._reason = self._reason or f"no answer to a ping in {timeout_s:g} s"
                self.abort()
                return
            await asyncio.sleep(max(0.0, every_s - timeout_s))


class _Reads(asyncio.BufferedProtocol):
    """Stands between the socket and picows' parser: bounds each read, stamps it, asks for room."""

    __slots__ = ("_conversation", "_get_buffer", "_parser")

    def __init__(self, parser: asyncio.BufferedProtocol, conversation: Conversation) -> None:
        self._parser = parser
        self._get_buffer = cast(Callable[[int], memoryview], parser.get_buffer)
        self._conversation = conversation

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._get_buffer(sizehint)[:READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        if self._conversation.read_begins():
            self._parser.buffer_updated(nbytes)
            self._conversation.read_ended()

    def eof_received(self) -> bool | None:
        return self._parser.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._conversation.cut(exc)
        self._parser.connection_lost(exc)

    def pause_writing(self) -> None:
        self._parser.pause_writing()

    def resume_writing(self) -> None:
        self._parser.resume_writing()


def _closed(code: int, reason: str) -> str:
    return f"closed with code {code or 1005}{f': {reason[:100]}' if reason else ''}"
