"""One open connection: a socket, its protocol state, and who may touch them when.

Threads: any number may send (one lock), any number may receive (another lock), and any may
close at any time. Every wait can be given a deadline.

Two roads lead to the socket. The direct one moves bytes between the transport and the core.
The outer one goes frame by frame through functions that the face hands in, for connections
that are traced, that use methods a program has overridden, mask keys of its own, or an object
that is no socket. The choice is made once, when the stream is made.

It is one module in spite of its length: reading, writing and closing share two locks, and who
changes one of them has to see the others.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from sys import getsizeof
from types import TracebackType
from typing import Any, Final, Protocol

from ._accel import encode_masked
from ._deadline import Deadline
from ._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketPayloadException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
)
from ._pong import GRACE, PongWaiter
from ._protocol.connection import Connection, Event, State
from ._protocol.frames import FIN, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG, OP_TEXT
from ._protocol.messages import Close, Frame, Ping
from ._protocol.sending import LARGE, Payload, close_payload, failure, not_encodable
from ._socket import last_sent_at
from ._transport import transport_for

# How long to wait for the peer to end the TCP connection after the closing handshake, which
# a server should do first (RFC 6455 section 7.1.1), or after an error: closing with unread
# bytes would reset the connection and could destroy our Close frame on its way.
LINGER: Final = 0.5

# Section 5.5.3 allows to answer the latest pings only; a peer that sends faster than it
# reads must not fill our memory.
_MAX_QUEUED: Final = 16
_MAX_WAITERS: Final = 1024

# Who waits for a pong reads on, and keeps messages that nobody has received yet: so many
# bytes of memory, looked at whenever so many have been read.
MOST_AHEAD: Final = 16 * 1024 * 1024
_MEASURED: Final = 64 * 1024


class Lock(Protocol):
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(
        self, t: type[BaseException] | None, v: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


class Stream:
    """See the module's text.

    Parameters:
        sock: a connected socket, or an object with ``recv`` and ``send``.
        core: the protocol state.
        lock: held while frames are encoded and written.
        readlock: held while the socket is read.
        answer_ping: called with the payload of each ping, instead of the pong that is sent
            otherwise.

    Attributes:
        read_frame: the outer road in: returns the next frame. None for the direct road.
        write_frame: the outer road out: sends a control frame (opcode, payload).
        on_shutdown: called when the socket has been closed, by whichever thread did it.
        exact: read no further than the frame that has begun needs. For programs that wait
            on the socket themselves: what stays unread keeps it readable for them.
    """

    def __init__(
        self,
        sock: Any,
        core: Connection,
        lock: Lock,
        readlock: Lock,
        *,
        answer_ping: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.sock = sock
        self.core = core
        self.transport = transport_for(sock)
        self._plain = self.transport.plain
        self._plain_out = self._plain if core.masks else None
        self._readable = self.transport.readable
        self.read_deadline: Deadline | None = None
        self.write_deadline: Deadline | None = None
        self.on_shutdown: Callable[[], Any] | None = None
        self._lock = lock
        self._readlock = readlock
        self.read_frame: Callable[[], Frame] | None = None
        self.write_frame: Callable[[int, bytes], Any] | None = None
        self.exact = False
        self._answer_ping = answer_ping
        self._unsent: memoryview | None = None
        # Lists, as an empty deque takes ten times the memory, and most are always empty.
        self._queued: list[tuple[int, bytes]] = []  # control frames that wait to be sent
        self._pings: list[PongWaiter] = []  # whose pongs have not come
        self._ahead, self._full = 0, False  # see ``try_read``
        self._receivers: list[None] = []  # as many as wait for the readlock
        self._shut = False
        self._process = os.getpid()
        core.counts.opened_at = time.time()

    # Receiving

    @property
    def deaf(self) -> bool:
        """Whether the program has closed the socket itself: no selector reports it any more."""
        fileno = getattr(self.sock, "fileno", None)
        return fileno is not None and fileno() == -1

    @property
    def unsent(self) -> memoryview | None:
        """What is left of a frame of which a part was sent, or may have been."""
        return self._unsent

    @property
    def ended(self) -> bool:
        """Whether the socket was closed from this side."""
        return self._shut

    @property
    def unread(self) -> int:
        """How many messages and pieces have come that nobody has received."""
        return len(self.core.events)

    def next_event(self, deadline: Deadline | None = None) -> Event:
        """The next thing that was received, in its order; waits for it.

        Raises:
            WebSocketTimeoutException: nothing whole came in time; what came is kept.
            WebSocketConnectionClosedException: there is nothing more to come.
        """
        events = self.core.events
        while True:
            if events:
                try:
                    return events.popleft()
                except IndexError:
                    continue  # another thread was faster
            if deadline is not None and deadline.overdue(GRACE):
                raise deadline.error()
            self.fill(deadline)

    def receive(self) -> Event:
        """``next_event`` without a deadline.

        The hot path: what ``fill`` and ``_read`` do in the usual case is written out, as each
        call counts. Whatever is unusual goes through them.
        """
        core = self.core
        events = core.events
        buffer = core.buffer
        plain = self._plain
        while True:
            if events:
                try:
                    return events.popleft()
                except IndexError:
                    continue  # another thread was faster
            if (
                plain is None
                or self.exact
                or self.read_frame is not None
                or self._queued
                or self._unsent is not None
                or core.ended
                or self._shut
                or buffer.start != buffer.end
                or not core.between_frames
                or not self._readlock.acquire(blocking=False)
            ):
                self.fill()
                continue
            try:
                if events:
                    continue
                try:
                    count = plain.recv_into(buffer.whole())
                except (OSError, ValueError) as error:
                    self._note_loss(self.transport.mapped("The receive", error), error)
                    continue
                if count:
                    core.counts.received_at = time.time()
                    core.received(count, self._readable)
                else:
                    core.eof()
                if core.controls:
                    self.answer_controls()
            finally:
                self._readlock.release()
                if self._pings:
                    self._wake_waiters()

    def fill(self, deadline: Deadline | None = None) -> None:
        """Read once, unless another thread has brought events in the meantime."""
        if not self._readlock.acquire(blocking=False):
            self._queue_for_reading(deadline)
        try:
            if not self.core.events:
                self._read(deadline)
        finally:
            self._release_reader()

    def _queue_for_reading(self, deadline: Deadline | None) -> None:
        self._receivers.append(None)
        try:
            acquired = self._acquire(self._readlock, deadline)
        finally:
            self._receivers.pop()
        if not acquired:
            # Nobody may be reading now: who waits for a pong has stood back for us.
            self._wake_waiters()
            raise WebSocketTimeoutException("The receive timed out: another thread is receiving")

    def try_read(self, deadline: Deadline) -> bool:
        """Read once on behalf of who waits for a pong; False where that is not to be done now.

        Another thread may be reading or about to, or what nobody has received yet is enough.
        """
        # A receiver goes first: a lock that is taken again at once would never be its.
        if self._receivers or not self._readlock.acquire(blocking=False):
            return False
        events = self.core.events
        if not events:
            self._ahead, self._full = 0, False
        elif self.core.streaming or self._full:
            # Pieces wait to be taken, and gathering them is what they are to spare us.
            self._readlock.release()
            return False
        try:
            self._ahead += self._read(deadline)
            if self._ahead >= _MEASURED:
                # All of it, as others may have taken some; not each time, as there can be many.
                self._ahead = 0
                self._full = sum(map(getsizeof, tuple(events))) >= MOST_AHEAD
        finally:
            self._release_reader()
        return True

    def _release_reader(self) -> None:
        self._readlock.release()
        if self._pings:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in tuple(self._pings):
            waiter.wake()

    def _read(self, deadline: Deadline | None) -> int:
        """Read and parse once; the number of bytes that came."""
        core = self.core
        count: int | None = 0
        if core.ended or self._shut:
            raise WebSocketConnectionClosedException("Connection is already closed.")
        try:
            if self._queued or self._unsent is not None:
                self._work_off(deadline)
            if self.read_frame is not None:
                self.read_deadline = deadline
                frame = self.read_frame()
                core.counts.received_at = time.time()
                core.accept(frame)
                count = len(frame.payload)
            else:
                if self.exact or not core.between_frames:
                    count = self._receive_more(deadline)
                else:
                    count = self.transport.recv_into(core.buffer.whole(), deadline)
                if count:
                    core.counts.received_at = time.time()
                    core.received(count, self._readable)
                elif count is not None:
                    core.eof()
        except (WebSocketProtocolException, WebSocketPayloadException) as error:
            core.ended = True
            core.events.append(error)
        except WebSocketConnectionClosedException as error:
            self._note_loss(error, error.__cause__)
        finally:
            self.read_deadline = None
        if core.controls:
            self.answer_controls()
        return count or 0

    def _note_loss(self, error: BaseException, cause: BaseException | None) -> None:
        """Let the loss of the connection be its last event; raise any other error."""
        error.__cause__ = cause
        if not isinstance(error, WebSocketConnectionClosedException):
            raise error
        self.core.eof(None if self.core.close_sent else error)

    def stream_next(self, wanted: bool = True) -> None:
        """Receive the next message in pieces; see ``Connection.stream``."""
        with self._readlock:
            if not (wanted and self.core.events):
                self.core.stream(wanted, parts=self.read_frame is None)

    def _receive_more(self, deadline: Deadline | None) -> int | None:
        """Read behind what is pending, or no more than is missing; the size.

        None where there was no need to: a streamed message had left something to parse.
        """
        if self.core.streaming:
            self.core.go_on()
            if self.core.events or self.core.ended:
                return None
        with self.core.writable() as free:
            if not self.exact:
                return self.transport.recv_into(free, deadline)
            with free[: self.core.missing() or 1] as part:
                return self.transport.recv_into(part, deadline)

    def answer_controls(self) -> None:
        """Answer the pings and note the pongs that the core has parsed."""
        controls = self.core.controls
        while controls:
            control = controls.popleft()
            if not isinstance(control, Ping):
                self._acknowledge(control.payload)
            elif self._answer_ping is not None:
                self._answer_ping(control.payload)
            else:
                self._send_soon(OP_PONG, control.payload)

    # Sending

    def send(self, opcode: int, payload: Payload) -> int:
        """Send one message or control frame by the direct road; return the size of its frame.

        The hot path: what ``Connection.encode`` and the transport do in the usual case, in
        which there is nothing to check, is written out, as each call counts.
        """
        core = self.core
        kind = payload.__class__
        plain = self._plain_out
        try:
            with self._lock:
                if (
                    (kind is str if opcode == OP_TEXT else kind is bytes and opcode == OP_BINARY)
                    and len(payload) <= LARGE
                    and core.plain
                    and self._unsent is None
                    and plain is not None
                ):
                    try:
                        frame = encode_masked(FIN | opcode, payload)
                        sent = plain.send(frame)
                    except UnicodeEncodeError as error:
                        raise not_encodable(error) from error
                    except (OSError, ValueError) as error:
                        raise self.transport.mapped("The send", error) from error
                    counts = core.counts
                    counts.bytes_sent += sent
                    counts.messages_sent += 1
                    size = len(frame)
                    if sent < size:
                        self._unsent = memoryview(frame)[sent:]
                        self.write(b"")
                    return size
                return self._write_parts(opcode, core.encode_parts(opcode, payload))
        finally:
            if self._queued:
                self._flush_queued(None)

    def send_many(self, messages: Iterable[Payload]) -> int:
        """Send many messages by the direct road; return the size of their frames."""
        size = 0
        if not self.core.plain:
            for message in messages:
                size += self.send(OP_TEXT if isinstance(message, str) else OP_BINARY, message)
            return size
        try:
            # No other frame has to wait for all of them, and the iterable may take its time.
            for frames, count in self.core.encode_many(messages):
                with self._lock:
                    self.core.await_turn()
                    self.write(frames)
                    self.core.counts.messages_sent += count
                size += len(frames)
        finally:
            if self._queued:
                self._flush_queued(None)
        return size

    def _write_parts(self, opcode: int, parts: Iterator[bytes]) -> int:
        """Write one frame that comes in parts; the lock is held."""
        try:
            self.write(b"")
        except BaseException:
            self.core.unsent()
            raise
        size = 0
        for part in parts:
            try:
                self.write(part)
            except BaseException:
                if not size and self._unsent is None:
                    self.core.unsent()
                else:
                    rest = part if self._unsent is None else self._unsent
                    self._unsent = memoryview(b"".join((rest, *parts)))
                    self.core.counts.sent(FIN | opcode)
                raise
            size += len(part)
        self.core.counts.sent(FIN | opcode)
        return size

    def write(self, data: bytes, send: Callable[[Any], int] | None = None) -> None:
        """Write all of ``data``; the lock is held.

        If the time is over in the middle of a frame, the rest of it goes out before the next
        one, as half a frame would make nonsense of all that follows.
        """
        send = send or (lambda rest: self.transport.send(rest, self.write_deadline))
        counts = self.core.counts
        while self._unsent is not None:
            sent = send(self._unsent)
            counts.bytes_sent += sent
            self._unsent = self._unsent[sent:]
            if not self._unsent:
                self._unsent = None
        rest = memoryview(data)
        while rest:
            try:
                sent = send(rest)
                counts.bytes_sent += sent
                rest = rest[sent:]
            except WebSocketTimeoutException:
                if len(rest) < len(data) or self.transport.keeps_writes:
                    self._unsent = rest
                raise

    def _send_soon(self, opcode: int, payload: bytes) -> None:
        """Send a control frame now, or as soon as there is room for it.

        A reader must not wait for a writer, nor for the peer to read: the peer may be
        waiting for us to read.
        """
        self._queued.append((opcode, payload))
        del self._queued[:-_MAX_QUEUED]
        self._flush_queued(Deadline(0))

    @property
    def backlog(self) -> bool:
        """Whether frames wait for room in the socket, or half of one does."""
        return bool(self._queued) or self._unsent is not None

    def _work_off(self, deadline: Deadline | None) -> None:
        """Send what waits as room comes, until there is something to read."""
        while self._flush_queued(Deadline(0)) and not (deadline and deadline.expired):
            if self.transport.wait_for_room(deadline):
                break

    def _flush_queued(self, deadline: Deadline | None) -> bool:
        """Send what waits; True if there was no room for it until the deadline.

        Who finds the lock taken leaves its frame to the holder, which looks here again after
        it has released the lock.
        """
        while self.backlog and self._lock.acquire(blocking=False):
            self.write_deadline = deadline
            try:
                self.write(b"")
                if self._queued:
                    self._send_queued()
            except WebSocketTimeoutException:
                return True
            except WebSocketException:
                # A connection that can't send any more is noticed by its reader.
                return False
            finally:
                self.write_deadline = None
                self._lock.release()
        return False

    def _send_queued(self) -> None:
        try:
            control = self._queued.pop(0)
        except IndexError:
            return
        try:
            self._send_control(*control)
        except WebSocketTimeoutException:
            if self._unsent is None and len(self._queued) < _MAX_QUEUED:
                self._queued.insert(0, control)
            raise

    def _send_control(self, opcode: int, payload: bytes) -> None:
        if self.write_frame is not None:
            self.write_frame(opcode, payload)
        else:
            self.write(self.core.encode(opcode, payload))
            self.core.counts.sent(opcode)

    def ping(self, payload: bytes, send: Callable[[int, bytes], Any]) -> PongWaiter:
        waiter = PongWaiter(self, payload)
        self._pings.append(waiter)
        del self._pings[:-_MAX_WAITERS]
        try:
            send(OP_PING, payload)
        except BaseException:
            self.forget_ping(waiter)
            raise
        return waiter

    def ping_soon(self, payload: bytes) -> PongWaiter:
        """Send a ping now, or as soon as there is room for it; never waits."""
        return self.ping(payload, self._send_soon)

    def forget_ping(self, waiter: PongWaiter) -> None:
        """Nobody waits for this pong any more."""
        with contextlib.suppress(ValueError):
            self._pings.remove(waiter)

    def _acknowledge(self, payload: bytes) -> None:
        """A pong answers the ping with its payload and, as peers may skip some, all before."""
        # A copy, as another thread may be pinging.
        if any(waiter.payload == payload for waiter in tuple(self._pings)):
            while self._pings:
                waiter = self._pings.pop(0)
                waiter.acknowledge()
                if waiter.payload == payload:
                    self.core.counts.answered(waiter.rtt or 0.0)
                    break

    # Closing

    def send_close(
        self, code: int | None, reason: str | bytes, deadline: Deadline | None = None
    ) -> None:
        """Send our Close frame, unless one was sent, or the connection is another process's."""
        payload = close_payload(code, reason)
        if self.forked:
            return
        if not self._acquire(self._lock, deadline):
            raise WebSocketTimeoutException("The close timed out: another thread is sending")
        try:
            if self.core.close_sent is None and self.core.state is not State.CLOSED:
                self.write_deadline = deadline
                self._send_control(OP_CLOSE, payload)
        finally:
            self.write_deadline = None
            self._lock.release()

    def answer_close(self, close: Close) -> None:
        """Answer the peer's Close frame with its own code (RFC 6455 section 5.5.1)."""
        self.core.close_received = close
        with contextlib.suppress(WebSocketException):
            self.send_close(close.code, b"", Deadline(LINGER))

    def fail(self, error: Exception) -> None:
        """Close the connection because of what the peer sent (section 7.1.7)."""
        deadline = Deadline(LINGER)
        if getattr(error, "close_code", None) is not None:
            with contextlib.suppress(WebSocketException):
                self.send_close(*failure(error), deadline)
                self._await_end(deadline)
        self.shutdown()

    def close(self, code: int | None, reason: str | bytes, timeout: float | None) -> None:
        """The closing handshake, and the end of the socket whatever becomes of it.

        Parameters:
            timeout: seconds for all of it, None for no limit.
        """
        deadline = Deadline(timeout)
        try:
            with contextlib.suppress(WebSocketException):
                if not self.forked:
                    self.send_close(code, reason, deadline)
                    self._await_close(deadline)
        finally:
            self.shutdown()

    def _await_close(self, deadline: Deadline) -> None:
        if not self._acquire(self._readlock, deadline):
            return
        core = self.core
        try:
            while core.close_received is None:
                while core.events:
                    event = core.events.popleft()
                    if isinstance(event, Close):
                        core.close_received = event
                        break
                else:
                    if core.ended or deadline.overdue(GRACE):
                        return
                    self._read(deadline)
        finally:
            self._release_reader()
        self._await_end(deadline.sooner(LINGER))

    def _await_end(self, deadline: Deadline) -> None:
        """Read until the peer has ended the stream; what it still says doesn't count."""
        if self._acquire(self._readlock, deadline):
            try:
                with memoryview(bytearray(4096)) as scratch:
                    while not deadline.overdue(GRACE):
                        if not self.transport.recv_into(scratch, deadline):
                            break
            finally:
                self._release_reader()

    def drained(self) -> bool:
        """Throw away what can be read at once; True at the end of the stream."""
        if not self._readlock.acquire(blocking=False):
            return False
        try:
            with memoryview(bytearray(65536)) as scratch:
                # A bounded number of reads: a peer that never stops must not keep us here.
                for _ in range(16):
                    if not self.transport.recv_into(scratch, Deadline(0)):
                        return True
        except WebSocketTimeoutException:
            pass
        except WebSocketConnectionClosedException:
            return True
        finally:
            self._release_reader()
        return False

    def abort(self) -> None:
        """End TCP, but for the parent of a child process. Threads that are blocked come back."""
        if not self.forked:
            self.transport.shutdown()

    def shutdown(self) -> None:
        """End the connection now. Threads that are blocked in it come back."""
        if self._shut:
            return
        self._shut = True
        if self.forked:
            # The connection is the parent's; the locks may be held by threads that are not here.
            self.transport.close()
            self.core.eof()
            return
        self.core.counts.sent_at = last_sent_at(self.sock)
        self.transport.shutdown()
        # Wait until they have: a descriptor that is closed under a thread that is about to
        # use it may by then be somebody else's.
        for lock in (self._readlock, self._lock):
            if lock.acquire(timeout=1):
                lock.release()
        self.transport.close()
        self.core.eof()
        tell, self.on_shutdown = self.on_shutdown, None
        if tell is not None:
            tell()

    @property
    def forked(self) -> bool:
        """Whether this is a child process, whose copy of the socket is all it may close."""
        return os.getpid() != self._process

    @staticmethod
    def _acquire(lock: Lock, deadline: Deadline | None) -> bool:
        if deadline is None:
            return lock.acquire()
        limit = deadline.left()
        return lock.acquire(timeout=-1 if limit is None else limit)
