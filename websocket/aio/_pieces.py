"""Messages in pieces: handed over as they come, or sent as fragments (RFC 6455 section 5.4)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from .._protocol.frames import CLOSE_INTERNAL_ERROR, OP_BINARY, OP_TEXT
from .._protocol.messages import Piece, Text8, decode_text
from .._protocol.sending import as_bytes
from ._driver import Driver

if TYPE_CHECKING:
    from ._connection import Connection


def as_wanted(message: str | bytes, decode: bool | None) -> str | bytes:
    """The message as str (True), as bytes (False), or as it came (None).

    Raises:
        WebSocketPayloadException: these bytes are no UTF-8.
    """
    if decode is None or isinstance(message, str) is decode:
        return message
    if isinstance(message, str):
        return message.encode("utf-8", "surrogateescape")
    return decode_text(message, check=True)


class MessageStream:
    """One message, piece by piece. Made by ``Connection.recv_stream``."""

    __slots__ = ("_begun", "_connection", "_decode", "_decoder", "_done", "_empty")

    def __init__(self, connection: Connection, decode: bool | None) -> None:
        self._connection = connection
        self._decode = decode
        self._decoder: Text8 | None = None
        self._begun = False
        self._empty = True
        self._done = False

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> str | bytes:
        while not self._done:
            event = await self._receive()
            if not isinstance(event, Piece):
                # It was here as a whole before anybody asked for pieces.
                self._done = True
                return as_wanted(event, self._decode)
            if not self._begun and not event.first:
                continue  # the rest of a message that was left early
            self._begun, self._done = True, event.fin
            data = self._wanted(event.data, event.fin)
            # A piece may be all of a character that is not complete.
            if data or (event.fin and self._empty):
                self._empty = False
                return data
        raise StopAsyncIteration

    async def _receive(self) -> Any:
        connection = self._connection
        driver = connection._driver
        if not self._begun and not connection._events:
            driver.stream()
        try:
            return await connection._next()
        except BaseException:
            if not self._begun:
                # The message that comes some time is for whoever asks then, in his own way.
                driver.stream(False)
            raise

    def _wanted(self, data: str | bytes, fin: bool) -> str | bytes:
        if self._decode and isinstance(data, bytes):
            if self._decoder is None:
                self._decoder = Text8()
            return self._decoder.feed(data, fin)
        return as_wanted(data, self._decode)


async def send_pieces(driver: Driver, message: Any, text: bool | None) -> None:
    """Send one message from an iterable, a fragment for each of its pieces.

    Raises:
        what ``Connection.send`` raises.
    """
    pieces = _pieces_of(message)
    sender = _Sender(driver, text)
    try:
        async for piece in pieces:
            await sender.send(piece)
        sender.finish()
    except BaseException:
        # A coroutine that is thrown away ends here too, perhaps after its loop.
        if sender.begun and not driver.loop.is_closed():
            driver.send_close(CLOSE_INTERNAL_ERROR, "the message can't be finished")
        raise
    finally:
        if sender.begun:
            driver.end_message()


def _pieces_of(message: Any) -> AsyncIterable[Any]:
    if hasattr(message, "__aiter__"):
        pieces: AsyncIterable[Any] = message
        return pieces
    # A mapping can be iterated, but its keys are hardly what is meant.
    if not hasattr(message, "__iter__") or hasattr(message, "items"):
        raise TypeError(
            "A WebSocket message is str, bytes-like or an iterable of one of them, but this is"
            f" {type(message).__name__}: encode it first, with json.dumps for instance"
        )
    return _one_by_one(message)


async def _one_by_one(pieces: Iterable[Any]) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


class _Sender:
    """The fragments of one message.

    Attributes:
        begun: whether a fragment was sent.
    """

    def __init__(self, driver: Driver, text: bool | None) -> None:
        self.begun = False
        self._driver = driver
        self._text = text
        self._str = False

    async def send(self, piece: Any) -> None:
        is_str = isinstance(piece, str)
        if not is_str:
            # Refuses what is nothing of the kind.
            as_bytes(piece)
        driver = self._driver
        if not self.begun:
            self._str = is_str
            is_text = is_str if self._text is None else self._text
            await driver.turn()
            driver.begin_message(OP_TEXT if is_text else OP_BINARY)
            self.begun = True
        elif is_str is not self._str:
            raise TypeError("The pieces of a message are all str or all bytes-like")
        else:
            await driver.turn(control=True)
        driver.send_piece(piece, fin=False)

    def finish(self) -> None:
        if self.begun:
            self._driver.send_piece(b"", fin=True)
            self._driver.messages_sent += 1
