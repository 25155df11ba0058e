"""The half of a connection that sends: frames into the transport, in turn, and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .._accel import encode_masked, mask_key
from .._protocol.connection import Connection as Core
from .._protocol.frames import FIN, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG, OP_TEXT
from .._protocol.sending import LARGE, FrameParts, Payload, not_encodable
from .._socket import last_sent_at
from .._stats import Stats, stats_of
from ._fast_path import FastPath
from ._options import Settings
from ._pong import Pongs
from ._waiters import Waiters


class SendingProtocol(asyncio.BufferedProtocol):
    """What ``Driver`` sends with.

    Parameters:
        core: the protocol state.
        settings: the connection's options.

    Attributes:
        closed: the transport is gone.
        blocked: a send has to wait for ``turn``.
        fragmenting: a message is being sent in pieces, so no other may begin.
        direct: frames go out as the protocol encodes them.
        fast_path: the transport's, if it has one.
        send_fast: sends a message, while ``core.plain`` is so, if that is usual; whether it
            was, see ``FastPath.send``.
        on_pause, on_resume: called when the transport has no room, and has room again.
    """

    __slots__ = (
        "_full",
        "_owed",
        "_write_limit",
        "_write_parts",
        "blocked",
        "bytes_sent",
        "closed",
        "core",
        "direct",
        "fast_path",
        "fragmenting",
        "loop",
        "messages_sent",
        "on_pause",
        "on_resume",
        "pongs",
        "send_fast",
        "senders",
        "time",
        "transport",
    )

    def __init__(self, core: Core, settings: Settings) -> None:
        self.core = core
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        self.transport: Any = None
        self.closed = False
        self.pongs = Pongs()
        self.direct = True
        self.fast_path: FastPath | None = None
        self.send_fast: Callable[[object], bool] = _refuse
        self.blocked = False
        self.fragmenting = False
        self._full = False
        self._owed: bytes | None = None
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self.senders = Waiters(self.loop)
        self.bytes_sent = self.messages_sent = 0
        self._write_limit = settings.write_limit
        self._write_parts: Callable[[FrameParts], None] | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.set_write_buffer_limits(*self._write_limit)
        self._write_parts = getattr(transport, "write_parts", None)
        self.fast_path = getattr(transport, "fast_path", None)
        if self.direct and self.fast_path is not None:
            self.send_fast = self.fast_path.send

    def pause_writing(self) -> None:
        self._full = self.blocked = True
        if self.on_pause is not None:
            self.on_pause()

    def resume_writing(self) -> None:
        self._full = False
        self.blocked = self.fragmenting
        if self._owed is not None:
            payload, self._owed = self._owed, None
            self.answer_ping(payload)
        self.senders.wake_all()
        if self.on_resume is not None:
            self.on_resume()

    def note_counts(self) -> None:
        """Bring ``core.counts`` up to date: what is counted here costs an attribute less."""
        counts, path = self.core.counts, self.fast_path
        counts.bytes_sent, counts.messages_sent = self.bytes_sent, self.messages_sent
        if path is not None:
            counts.bytes_sent += path.bytes_sent
            counts.messages_sent += path.messages_sent
        if not self.closed:
            counts.sent_at = last_sent_at(self.transport.get_extra_info("socket"))

    @property
    def stats(self) -> Stats:
        self.note_counts()
        return stats_of(self.core, None)

    # Messages

    def send(self, opcode: int, payload: Payload) -> None:
        """Give one message, or a control frame, to the transport.

        What ``Connection.encode`` does in the usual case, in which there is nothing to check,
        is written out, as each call counts.
        """
        core = self.core
        kind = payload.__class__
        if (
            (kind is str if opcode == OP_TEXT else kind is bytes and opcode == OP_BINARY)
            and len(payload) <= LARGE
            and core.plain
        ):
            try:
                frame = encode_masked(FIN | opcode, payload)
            except UnicodeEncodeError as error:
                raise not_encodable(error) from error
            self.transport.write(frame)
            self.bytes_sent += len(frame)
        else:
            parts = core.encode_parts(opcode, payload)
            if isinstance(parts, FrameParts) and parts.fixed and self._write_parts is not None:
                self.bytes_sent += parts.left
                self._write_parts(parts)
            else:
                for part in parts:
                    self.write(part)
            if opcode >= OP_CLOSE:
                core.counts.sent(opcode)

    def send_piece(self, payload: Payload, fin: bool) -> None:
        """Give the next piece of the message that was begun to the transport."""
        self.write(self.core.encode_piece(payload, fin))

    def write(self, data: bytes) -> None:
        """Give bytes to the transport."""
        self.transport.write(data)
        self.bytes_sent += len(data)

    async def turn(self, control: bool = False) -> None:
        """Wait until the transport has room and no other message is half sent.

        Parameters:
            control: the frame may go between the pieces of a message.
        """
        while (
            self._full or (self.fragmenting and not control) or self.transport.is_closing()
        ) and not (self.closed or self.core.close_sent):
            await self.senders.wait()

    def begin_message(self, opcode: int) -> None:
        """A message is sent in pieces from now on; others wait for its end.

        Raises:
            WebSocketConnectionClosedException: nothing may be sent any more.
        """
        self.core.begin_message(opcode)
        self.fragmenting = self.blocked = True

    def end_message(self) -> None:
        self.core.end_message()
        self.fragmenting = False
        self.blocked = self._full
        self.senders.wake_all()

    # Control frames

    def ping(self, payload: str | bytes | None) -> asyncio.Future[float]:
        """Send a ping; the future's result is the round-trip time."""
        if payload is None:
            payload = mask_key()
        elif isinstance(payload, str):
            payload = payload.encode()
        self.pongs.check_room()
        self.send(OP_PING, payload)
        pong: asyncio.Future[float] = self.loop.create_future()
        self.pongs.expect(payload, self.time(), pong)
        return pong

    def answer_ping(self, payload: bytes) -> None:
        if self._full:
            # Section 5.5.3 allows to answer the latest only; a peer that sends faster than it
            # reads must not fill our memory.
            self._owed = payload
        elif self.core.close_sent is None:
            self.send(OP_PONG, payload)


def _refuse(message: object) -> bool:
    """``SendingProtocol.send_fast`` where there is no fast path."""
    return False
