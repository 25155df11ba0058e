"""The half of a connection that receives: from the transport, or the socket, into the core."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from time import time as now
from typing import Any, Final

from .._protocol.connection import Connection as Core
from .._protocol.sending import LARGE
from ._options import Settings
from ._sending import SendingProtocol

# How often to read before others have their turn.
_MOST_READS: Final = 16


class ReceivingProtocol(SendingProtocol):
    """What ``Driver`` receives with.

    Parameters:
        core: the protocol state.
        settings: the connection's options.
        deliver: called with the size of a read when ``core.events`` has grown.
    """

    __slots__ = (
        "_deliver",
        "_dropping",
        "_heard",
        "_lent",
        "_reading",
        "_straight_to",
        "_unchecked",
    )

    def __init__(self, core: Core, settings: Settings, deliver: Callable[[int], None]) -> None:
        super().__init__(core, settings)
        self._deliver = deliver
        self._lent: memoryview | None = None
        self._straight_to: tuple[Any, ...] = (core.events, "append", deliver, None)
        self._unchecked = False
        self._reading = True
        self._dropping = False
        self._heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.fast_path is not None:
            sink, method, delivered, failed = self._straight_to
            limit = self.core.scan_limit
            self.fast_path.start(sink, method, delivered, failed, limit, LARGE)
            self._see_to_fast_path()
        # They hold this object: a cycle.
        self._straight_to = ()

    def straight_to(
        self,
        sink: Any,
        method: str,
        failed: Callable[[BaseException, list[str | bytes]], object],
    ) -> None:
        """Give messages to that method instead of ``core.events``, where that is possible.

        To be called before the connection is made.

        Parameters:
            failed: called with what the method has raised, and the messages that follow.
        """
        self._straight_to = (sink, method, None, failed)

    def _see_to_fast_path(self) -> None:
        """Messages may come the short way from now on, or not any more."""
        if self.fast_path is not None:
            self.fast_path.room = None if self._dropping else self.core.resting()

    def leave_fast_path(self) -> None:
        """The next messages are to come the long way."""
        if self.fast_path is not None:
            self.fast_path.room = None

    # What the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:
        core = self.core
        if core.between_frames:
            return core.buffer.whole()
        self._lent = core.writable()
        return self._lent

    def buffer_updated(self, nbytes: int, more: Callable[[], bool] | None = None) -> None:
        core = self.core
        if self._lent is not None:
            # The transport keeps the view for longer than it needs it; while it does, memory
            # can't change its size. Some hold on to the view's own memory: then it is copied.
            with contextlib.suppress(BufferError):
                self._lent.release()
            self._lent = None
        if core.ended:
            # What the peer still says doesn't count.
            return
        core.counts.received_at = now()
        self._heard = True
        before = len(core.events)
        core.received(nbytes, more)
        self._parsed(before, nbytes)

    def received_messages(self, count: int, start: int, messages: list[str | bytes]) -> None:
        """The fast path has read what is not for it alone, see there."""
        core = self.core
        core.counts.received_at = now()
        self._heard = True
        before = len(core.events)
        core.received_messages(count, start, messages)
        self._parsed(before, count)

    def receive_from(self, fd: int) -> int:
        """Receive from the socket itself: ``get_buffer`` and ``buffer_updated`` in one, and
        more than once while text is incomplete, so that it is checked once only.

        Returns:
            how many bytes have come, 0 at the end of the stream.

        Raises:
            OSError: as ``os.readv`` does.
        """
        count = 0
        self._unchecked = False
        for _ in range(_MOST_READS):
            try:
                count = os.readv(fd, (self.get_buffer(-1),))
            except BlockingIOError:
                if not self._unchecked:
                    raise
                break
            self._unchecked = False
            if not count:
                return 0
            self.buffer_updated(count, self._read_on)
            if not self._unchecked:
                return count
            if not self._reading or self.transport.is_closing():
                break
        # Nothing stays unchecked while there is nothing to read.
        self.go_on()
        return count

    def _read_on(self) -> bool:
        """There is text that is unchecked: yes, there may be more."""
        self._unchecked = True
        return True

    def go_on(self) -> None:
        """Parse what a message that is handed over in pieces has left unparsed."""
        if not self.core.ended:
            before = len(self.core.events)
            self.core.go_on()
            self._parsed(before, 0)

    def feed(self, data: bytes) -> None:
        """``buffer_updated`` for bytes that were received elsewhere."""
        view = memoryview(data)
        while view:
            free = self.get_buffer(len(view))
            count = min(len(free), len(view))
            free[:count] = view[:count]
            del free
            self.buffer_updated(count)
            view = view[count:]

    def _parsed(self, before: int, nbytes: int) -> None:
        """See to what has come after the first ``before`` events."""
        core = self.core
        if core.controls or core.ended or self._dropping:
            self.leave_fast_path()
            self._sort_out(before, nbytes)
        else:
            self._see_to_fast_path()
            self._deliver(nbytes)

    def _sort_out(self, before: int, nbytes: int) -> None:
        """``_parsed`` where it is not messages alone."""
        raise NotImplementedError

    def stream(self, wanted: bool = True) -> None:
        """See ``Connection.stream`` of the core."""
        self.core.stream(wanted)
        self._see_to_fast_path()

    def note_received(self) -> None:
        """Bring ``core.counts`` up to date."""
        path, counts = self.fast_path, self.core.counts
        if path is not None and path.bytes_received:
            counts.bytes_received += path.bytes_received
            counts.messages_received += path.messages_received
            counts.received_at = max(path.received_at, counts.received_at or 0.0)
            path.bytes_received = path.messages_received = 0
            self._heard = True

    def note_counts(self) -> None:
        super().note_counts()
        self.note_received()

    # Backpressure

    def pause_reading(self) -> None:
        """Leave what comes in the kernel, until ``resume_reading``."""
        wanted = not (self._dropping or self.core.ended or self.transport.is_closing())
        if self._reading and wanted:
            self._reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            if not self.transport.is_closing():
                self.transport.resume_reading()

    @property
    def reading(self) -> bool:
        return self._reading
