"""The half of a connection that receives: from the transport, or the socket, into the core."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from time import time as now
from typing import Final

from .._accel import receive_messages
from .._protocol.connection import Connection as Core
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
        "_room",
        "_unchecked",
    )

    def __init__(self, core: Core, settings: Settings, deliver: Callable[[int], None]) -> None:
        super().__init__(core, settings)
        self._deliver = deliver
        self._lent: memoryview | None = None
        # Where ``receive_messages`` may put what comes next, see ``resting``.
        self._room = core.resting()
        self._unchecked = False
        self._reading = True
        self._dropping = False
        self._heard = False

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

    def receive_from(self, fd: int) -> int:
        """Receive from the socket itself: ``get_buffer`` and ``buffer_updated`` in one.

        Written out for what is usual where each call counts: a few small messages, whole,
        and nothing else.

        Returns:
            how many bytes have come, 0 at the end of the stream.

        Raises:
            OSError: see ``receive_messages``.
        """
        core = self.core
        room = self._room
        if room is None or not core.scans:
            return self._receive_on(fd)
        count, start, messages = receive_messages(fd, room, core.scan_limit)
        events = core.events
        counts = core.counts
        if messages and start == count < len(room):
            counts.received_at = now()
            counts.bytes_received += count
            counts.messages_received += len(messages)
            events.extend(messages)
            self._heard = True
            self._deliver(count)
        elif count:
            counts.received_at = now()
            self._heard = True
            before = len(events)
            core.received_messages(count, start, messages)
            self._parsed(before, count)
        return count

    def _receive_on(self, fd: int) -> int:
        """Receive; more than once while text is incomplete, so that it is checked once only."""
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
            self._room = None
            self._sort_out(before, nbytes)
        else:
            self._room = core.resting()
            self._deliver(nbytes)

    def _sort_out(self, before: int, nbytes: int) -> None:
        """``_parsed`` where it is not messages alone."""
        raise NotImplementedError

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
