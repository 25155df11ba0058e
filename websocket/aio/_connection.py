"""The connection that a program awaits: ``Connection``.

Received messages wait in the protocol core's queue, from which ``recv`` takes them; what a
message in pieces needs is in ``_pieces``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from copy import copy
from types import TracebackType
from typing import Any, Literal, cast, overload

from .._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketPayloadException,
    WebSocketTimeoutException,
)
from .._protocol.frames import OP_BINARY, OP_TEXT
from .._protocol.messages import Piece
from ._endpoint import Endpoint
from ._open import Opened
from ._options import Settings
from ._outer import make_driver
from ._pieces import MessageStream, as_wanted, send_pieces
from ._waiters import Waiters

Data = str | bytes | bytearray | memoryview

# Codes of a Close that end an iteration quietly; 1005 stands for none.
_GOOD_CODES = (1000, 1001, 1005)


class Connection(Endpoint):
    """An open WebSocket connection. Made by ``connect``.

    Any number of tasks may send, receive and close at the same time, all of the same loop.
    Each call may be cancelled, by ``asyncio.timeout`` for instance: a cancelled receive has
    taken nothing, a cancelled send has sent nothing, or all.
    """

    __slots__ = (
        "__weakref__",
        "_backlog",
        "_driver",
        "_events",
        "_max_queue",
        "_max_queue_size",
        "_raised",
        "_receivers",
        "_request",
        "_response",
    )

    def __init__(self, opened: Opened, settings: Settings) -> None:
        driver = make_driver(settings, opened.response.codec, self._delivered)
        self._request = opened.request
        self._response = opened.response
        self._driver = driver
        self._events = driver.core.events
        self._receivers = Waiters(driver.loop)
        self._max_queue = settings.max_queue or 0
        self._max_queue_size = settings.max_queue_size or 0
        self._backlog = 0  # bytes received since the queue was empty
        self._raised = False

    # Receiving

    def _delivered(self, count: int) -> None:
        """The driver has read ``count`` bytes, or the connection has ended."""
        self._backlog += count
        if self._events:
            if (
                (self._max_queue and len(self._events) >= self._max_queue)
                or (self._max_queue_size and self._backlog >= self._max_queue_size)
                or self._driver.core.streaming
            ):
                self._driver.pause_reading()
            if self._receivers:
                self._receivers.wake()
        if self._driver.end is not None:
            self._receivers.wake_all()

    def _emptied(self) -> None:
        """The program has taken all that there was."""
        self._backlog = 0
        driver = self._driver
        if driver.core.streaming:
            driver.go_on()
        if not self._events:
            driver.resume_reading()

    async def _next(self, until: float | None = None) -> Any:
        """The next message or piece.

        Raises:
            what ended the connection, when all that came before it was taken.
        """
        events = self._events
        while not events:
            self._driver.reach_end()
            if self._driver.end is not None:
                raise self._ending()
            if until is not None and self._driver.time() >= until:
                raise WebSocketTimeoutException("The receive timed out.")
            await self._receivers.wait(until)
        event = events.popleft()
        if not events and not self._driver.reading:
            self._emptied()
        elif events and self._receivers:
            self._receivers.wake()
        return event

    def _ending(self) -> Exception:
        """What to raise at the end: an error once as it is, and then as the cause."""
        end = self._driver.end
        if isinstance(end, Exception) and not self._raised:
            self._raised = True
            # What is raised is given the frames that it passes, and they hold this object.
            self._driver.end = copy(end)
            self._driver.end.__cause__ = end.__cause__
            return end
        return self._driver.closed_error()

    @overload
    async def recv(self, decode: Literal[True], timeout: float | None = None) -> str: ...
    @overload
    async def recv(self, decode: Literal[False], timeout: float | None = None) -> bytes: ...
    @overload
    async def recv(
        self, decode: bool | None = None, timeout: float | None = None
    ) -> str | bytes: ...
    async def recv(self, decode: bool | None = None, timeout: float | None = None) -> str | bytes:
        """Receive the next message.

        Parameters:
            decode: True for str and False for bytes, whichever of the two was sent. None: str
                for text, bytes for binary.
            timeout: seconds, 0 to take only what is there already, None for no limit.

        Raises:
            WebSocketTimeoutException: no whole message came in time. What came is kept.
            WebSocketConnectionClosedException: the connection is closed (``code`` and
                ``reason`` are the server's), or was lost.
            WebSocketProtocolException, WebSocketPayloadException: the server broke the
                protocol; the connection was closed with the code that says so. Also where
                ``decode=True`` met bytes that are no UTF-8; then the connection stays open,
                and the next receive gets this message.
        """
        until = None if timeout is None else self._driver.time() + timeout
        while True:
            event = await self._next(until)
            # The rest of a message that was taken in pieces, and left early.
            if isinstance(event, Piece):
                continue
            if decode is None:
                return cast("str | bytes", event)
            try:
                return as_wanted(event, decode)
            except WebSocketPayloadException:
                self._events.appendleft(event)
                raise

    def recv_stream(self, decode: bool | None = None) -> MessageStream:
        """Receive the next message in pieces, as they arrive: ``async for piece in
        ws.recv_stream()``. For messages larger than memory.

        The pieces end where what has arrived ends, never inside a character of text. An empty
        message has one piece, an empty one. ``max_size`` does not count. What is left of a
        message when the loop is left early is skipped by the next receive. Only one task may
        receive meanwhile.

        Parameters:
            decode: as for ``recv``.

        Raises:
            as ``recv`` does, while it is iterated.
        """
        return MessageStream(self, decode)

    recv_streaming = recv_stream

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> str | bytes:
        """The next message. The iteration ends with a Close of code 1000, 1001 or none, and
        after our own; another end is raised as ``recv`` does."""
        events = self._events
        if events:
            event = events.popleft()
            if not events:
                self._backlog = 0
                if not self._driver.reading:
                    self._emptied()
            kind = event.__class__
            if kind is str or kind is bytes:
                return event  # type: ignore[return-value]
        try:
            return await self.recv()
        except WebSocketConnectionClosedException:
            if self._driver.closed_by == "client" or self.close_code in _GOOD_CODES:
                raise StopAsyncIteration from None
            raise

    # Sending

    async def send(
        self,
        message: Data | Iterable[Data] | AsyncIterable[Data],
        text: bool | None = None,
    ) -> None:
        """Send one message; wait first while the transport has no room.

        Parameters:
            message: str is sent as text, bytes and their like as binary. An iterable or
                async iterable of either is sent as one message in as many fragments (RFC
                6455 section 5.4); an empty one sends nothing.
            text: True sends bytes as text, False str as binary.

        Raises:
            WebSocketConnectionClosedException: the connection is closed or closing.
            WebSocketPayloadException: what is to be sent as text is not UTF-8.
            TypeError: this is no message.

        If an iterable raises, or this is cancelled, after a part of the message was sent, the
        connection is closed with code 1011: there is no way to take back half a message.
        """
        driver = self._driver
        if text is None and driver.core.plain and driver.send_fast(message):
            return
        if isinstance(message, str):
            opcode = OP_TEXT
            if text is False:
                opcode, message = OP_BINARY, message.encode()
        elif isinstance(message, (bytes, bytearray, memoryview)):
            opcode = OP_TEXT if text else OP_BINARY
        else:
            await send_pieces(driver, message, text)
            return
        if driver.blocked or driver.transport.is_closing():
            await driver.turn()
        payload: Any = message
        driver.send(opcode, payload)
        driver.messages_sent += 1

    async def send_many(self, messages: Iterable[Data] | AsyncIterable[Data]) -> int:
        """Send many messages with few system calls.

        Parameters:
            messages: each as in ``send``, but none in pieces.

        Returns:
            how many were sent.

        Raises:
            as ``send`` does. The messages before the one that was refused were sent.
        """
        driver = self._driver
        sent = 0
        if isinstance(messages, AsyncIterable):
            async for message in messages:
                await self.send(message)
                sent += 1
        elif not (driver.direct and driver.core.plain):
            for message in messages:
                await self.send(message)
                sent += 1
        else:
            batches = driver.core.encode_many(messages)
            await driver.turn()
            # Encoded and sent without a pause: a Close must not come in between.
            for frames, count in batches:
                driver.write(frames)
                driver.messages_sent += count
                sent += count
                await driver.turn()
        return sent

    # with

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
