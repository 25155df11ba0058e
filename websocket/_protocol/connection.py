"""An open WebSocket connection without I/O: RFC 6455 sections 5 to 7 for both roles.

Bytes that were received go into ``buffer``; ``received`` turns them into ``events``. What is
to be sent comes back as bytes. The driver owns the socket, the clock and the locks. Here is
what the two halves, ``receiving`` and ``sending``, have in common.
"""

from __future__ import annotations

import enum
from typing import Final

from .._exceptions import WebSocketConnectionClosedException
from .extensions import Codec, Volumes
from .frames import CLOSE_NO_STATUS
from .messages import Close
from .receiving import Event, ReceivingHalf, Role
from .sending import SendingHalf, failure

__all__ = ["DEFAULT_MAX_SIZE", "Connection", "Event", "Role", "State"]

DEFAULT_MAX_SIZE: Final = 100 * 1024 * 1024


class State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"  # one Close frame was sent or received
    CLOSED = "closed"  # both were, or the stream ended


class Connection(ReceivingHalf, SendingHalf):
    """The state of one connection after its opening handshake.

    Parameters:
        role: which end this is.
        max_size: bytes that a received message may have, None for no limit.
        fragments: hand over the pieces of fragmented messages as ``Fragment`` events.
        check_text: refuse text that is not UTF-8, in both directions.
        codec: the extension that was negotiated, or None.

    Attributes:
        close_received: the peer's Close, once its turn in ``events`` has come and the driver
            has handed it to ``answer_close``.
    """

    def __init__(
        self,
        role: Role = Role.CLIENT,
        *,
        max_size: int | None = DEFAULT_MAX_SIZE,
        fragments: bool = False,
        check_text: bool = True,
        codec: Codec | None = None,
    ) -> None:
        ReceivingHalf.__init__(self, role, max_size, fragments, check_text, codec)
        SendingHalf.__init__(self, role is not Role.SERVER, check_text, codec)
        self.close_received: Close | None = None
        self._lost = False

    @property
    def state(self) -> State:
        if self._lost or (self.close_sent and self.close_received):
            return State.CLOSED
        if self.close_sent or self.close_received:
            return State.CLOSING
        return State.OPEN

    @property
    def compressed(self) -> bool:
        """Whether an extension is in use that encodes messages."""
        return self._codec is not None

    @property
    def volumes(self) -> Volumes:
        """What the extension has encoded and decoded so far."""
        return Volumes() if self._codec is None else self._codec.volumes

    # Closing

    def answer_close(self, close: Close) -> bytes:
        """Note the peer's Close and answer it with its own code (section 5.5.1)."""
        self.close_received = close
        return self.close(close.code)

    def fail(self, error: Exception) -> bytes:
        """The Close frame for an error of the peer's (section 7.1.7)."""
        return self.close(*failure(error))

    @property
    def close_code(self) -> int | None:
        """The code that the peer closed with; 1005 where its Close had none, else None."""
        if self.close_received is None:
            return None
        return CLOSE_NO_STATUS if self.close_received.code is None else self.close_received.code

    def eof(self, error: WebSocketConnectionClosedException | None = None) -> None:
        """The stream ended (``error`` says how): without a Close frame it was lost."""
        self._lost = True
        self.sendable = self.plain = False
        if not self.ended:
            self.ended = True
            self._forget_pending()
            if error is None:
                error = WebSocketConnectionClosedException(
                    "Connection to remote host was lost."
                    if self.close_sent is None
                    else "Connection is already closed."
                )
            self.events.append(error)
