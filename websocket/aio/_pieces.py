"""Messages in pieces (RFC 6455 section 5.4): joined, handed over one by one, or sent."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from .._protocol.frames import CLOSE_INTERNAL_ERROR, OP_BINARY, OP_CONT, OP_TEXT
from .._protocol.messages import Fragment, Text8, decode_text
from ._driver import Driver

if TYPE_CHECKING:
    from ._connection import Connection


class Joiner:
    """Joins fragments into messages, and turns messages into the type that is wanted.

    It keeps the bytes that were received and no object per fragment.
    """

    __slots__ = ("_opcode", "_payload")

    def __init__(self) -> None:
        self._opcode = 0
        self._payload: bytearray | None = None

    def add(self, fragment: Fragment) -> str | bytes | None:
        """Take a fragment; the message that it completes is returned."""
        if self._payload is None:
            self._opcode, self._payload = fragment.opcode, bytearray()
        self._payload += fragment.payload
        if not fragment.fin:
            return None
        opcode, payload = self._opcode, self._payload
        self._payload = None
        # The text was checked when it came, or is not to be checked.
        return decode_text(payload, check=False) if opcode == OP_TEXT else bytes(payload)

    def take(self) -> tuple[int, bytes]:
        """The opcode of the unfinished message and what has come of it; opcode 0 for none."""
        opcode, payload = self._opcode, self._payload
        self._payload = None
        return (0, b"") if payload is None else (opcode, bytes(payload))


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
    """One message, piece by piece. Made by ``Connection.recv_streaming``."""

    __slots__ = ("_connection", "_decode", "_decoder", "_done", "_left")

    def __init__(self, connection: Connection, decode: bool | None) -> None:
        self._connection = connection
        self._decode = decode
        self._decoder: Text8 | None = None
        self._left: tuple[int, bytes] | None = None
        self._done = False

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> str | bytes:
        while not self._done:
            piece = await self._next_piece()
            # A piece may be empty, or all of it belong to a character that is not complete.
            if piece:
                return piece
        raise StopAsyncIteration

    async def _next_piece(self) -> str | bytes:
        connection = self._connection
        if connection._stream is not self:
            await connection._finish_stream(None)
            opcode, begun = connection._joiner.take()
            connection._stream = self
            if opcode:
                # The rest of a character comes with the piece that completes it.
                text = begun.decode(errors="ignore") if opcode == OP_TEXT else None
                return self._wanted(Fragment(opcode, begun, text, False))
        event: Any = await connection._next()
        if not isinstance(event, Fragment):
            self._end()
            return as_wanted(event, self._decode)
        if event.fin:
            self._end()
        return self._wanted(event)

    def _end(self) -> None:
        self._done = True
        self._connection._stream = None

    def _wanted(self, piece: Fragment) -> str | bytes:
        if self._decode is False or (self._decode is None and piece.text is None):
            return piece.payload
        if piece.text is not None:
            return piece.text
        if self._decoder is None:
            self._decoder = Text8()
        return self._decoder.feed(piece.payload, piece.fin)


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
        self._checked = Text8()

    async def send(self, piece: Any) -> None:
        if not isinstance(piece, (str, bytes, bytearray, memoryview)):
            raise TypeError(
                f"A piece of a message is str or bytes-like, but this is {type(piece).__name__}"
            )
        is_str = isinstance(piece, str)
        driver = self._driver
        if not self.begun:
            self._str = is_str
            is_text = is_str if self._text is None else self._text
            self._text = is_text
            await driver.turn()
            driver.send(OP_TEXT if is_text else OP_BINARY, self._encoded(piece), fin=False)
            self.begun = True
            driver.begin_message()
            return
        if is_str is not self._str:
            raise TypeError("The pieces of a message are all str or all bytes-like")
        await driver.turn(control=True)
        driver.send(OP_CONT, self._encoded(piece), fin=False)

    def finish(self) -> None:
        if self.begun:
            if self._text and not self._str:
                self._checked.feed(b"", final=True)
            self._driver.send(OP_CONT, b"")
            self._driver.messages_sent += 1

    def _encoded(self, piece: Any) -> Any:
        if self._str:
            return piece if self._text else piece.encode()
        if self._text:
            self._checked.feed(piece)
        return piece
