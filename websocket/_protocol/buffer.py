"""Memory that the socket writes into: a connection's receive buffer, and large payloads."""

from __future__ import annotations

from io import BytesIO
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

SMALLEST: Final = 2 * KIB
READ_SIZE: Final = 256 * KIB

# After so many reads in a row that needed only a fraction of it, the buffer shrinks.
_SMALL_READS: Final = 32

# A handful of free bytes would cost a system call for next to nothing.
_LEAST_FREE: Final = SMALLEST // 2


class ReceiveBuffer:
    """Bytes received and not yet consumed: ``data[start:end]``.

    It begins small, so that a thousand idle connections cost little, grows while reads fill
    it, and shrinks back. It never holds more than the bytes received and not yet consumed
    plus one read buffer (``READ_SIZE``, or an eighth of what is pending where that is more,
    which keeps the cost per byte constant).
    """

    __slots__ = ("_capacity", "_small_reads", "_view", "data", "end", "start")

    def __init__(self) -> None:
        self.data = bytearray(SMALLEST)
        self.start = 0
        self.end = 0
        self._capacity = SMALLEST
        self._small_reads = 0
        self._view: memoryview | None = None

    def __len__(self) -> int:
        return self.end - self.start

    def writable(self) -> memoryview:
        """Free memory behind the pending bytes, never empty.

        Release the view (``with``) before the next call: a view that is still held keeps the
        block from growing in place.
        """
        if self.start == self.end:
            self.start = self.end = 0
            if len(self.data) != self._capacity:
                self._resize(self._capacity)
        else:
            if self.start:
                # What is pending is the beginning of one frame: each byte is moved once.
                self._compact()
            if len(self.data) < self._capacity:
                self._resize(self._capacity)
        self.trim()
        if len(self.data) - self.end < _LEAST_FREE:
            self._resize(self.end + max(min(self.end, READ_SIZE), self.end // 8))
        return memoryview(self.data)[self.end :]

    @property
    def small(self) -> bool:
        """Whether nothing is pending, and the memory as small as it gets."""
        return self.start == self.end and len(self.data) == self._capacity == SMALLEST

    def whole(self) -> memoryview:
        """``writable()`` of an empty buffer, without the cost of a view made anew.

        The view stays the buffer's own: don't release it, don't keep it.
        """
        self.start = self.end = 0
        if self._view is None or len(self.data) != self._capacity:
            self._resize(self._capacity)
            self._view = memoryview(self.data)
        return self._view

    def trim(self) -> None:
        """Give back what only a large frame needed, once that is consumed."""
        pending = self.end - self.start
        if len(self.data) - pending > max(READ_SIZE, pending // 8):
            self._compact()
            self._resize(self.end + self._capacity)

    def wrote(self, count: int) -> None:
        """``count`` bytes were written at the front of the last ``writable()``."""
        self.end += count
        if self.end == len(self.data):
            self._capacity = min(self._capacity * 4, READ_SIZE)
            self._small_reads = 0
        elif self._capacity > SMALLEST:
            if count > self._capacity // 8:
                self._small_reads = 0
            else:
                self._small_reads += 1
                if self._small_reads >= _SMALL_READS:
                    self._capacity = max(self._capacity // 4, SMALLEST)
                    self._small_reads = 0

    def clear(self) -> None:
        """Forget what is pending and give the memory back."""
        self.start = self.end = 0
        self._view = None
        self.data = bytearray(SMALLEST)
        self._capacity = SMALLEST

    def _compact(self) -> None:
        pending = self.end - self.start
        self.data[:pending] = self.data[self.start : self.end]
        self.start, self.end = 0, pending

    def _resize(self, size: int) -> None:
        if self._view is not None:
            self._view.release()
            self._view = None
        try:
            if size > len(self.data):
                self.data.extend(bytes(size - len(self.data)))
            else:
                del self.data[size:]
        except BufferError:
            # Somebody still holds a view of the block, a traceback for instance.
            fresh = bytearray(size)
            fresh[: self.end] = self.data[: self.end]
            self.data = fresh


class _Malloc:
    """Makes the C library reuse the memory of large messages.

    glibc maps each block above a threshold anew and gives it back when it is freed, and then
    the next message pays for every page again: for 16 MiB that costs many times what receiving
    them does. The threshold rises to the size of the largest block that was ever freed, up to
    32 MiB. So one is freed here, which nobody has touched, and which has cost no memory
    therefore. What remains is that the process may keep free memory for itself, up to twice
    that size. Elsewhere than with glibc it does nothing.
    """

    _least: Final = 8 * MIB
    _most: Final = 32 * MIB - 64 * KIB

    def __init__(self) -> None:
        self._kept = -1

    def reuse(self, size: int) -> None:
        """Blocks of this size will be needed again."""
        if size > self._kept < self._most:
            self._kept = min(max(size, self._least), self._most)
            bytearray(self._kept)


_malloc = _Malloc()


class LargePayload:
    """The payload of one frame, received straight into the bytes object that it becomes.

    ``BytesIO`` hands its contents over without a copy. It grows with what was received, never
    on the word of a length field, by an eighth at a time so that the cost per byte is constant.

    Parameters:
        length: of the payload.
        beginning: what has been received of it.
    """

    __slots__ = ("_content", "_end", "_room", "length")

    def __init__(self, length: int, beginning: memoryview) -> None:
        _malloc.reuse(0)
        self.length = length
        self._content = BytesIO()
        self._room = self._end = self._content.write(beginning)

    @property
    def missing(self) -> int:
        """How many bytes have not been received yet."""
        return self.length - self._end

    def writable(self) -> memoryview:
        """Free memory for no more than is missing. Release the view before the next call."""
        if self._room == self._end:
            self._room += min(self.missing, max(READ_SIZE, self._end // 8))
            self._content.seek(self._room - 1)
            self._content.write(b"\0")
        with self._content.getbuffer() as whole:
            return whole[self._end : self._room]

    def wrote(self, count: int) -> None:
        """``count`` bytes were written at the front of the last ``writable()``."""
        self._end += count

    def view(self, start: int) -> memoryview:
        """What was received from position ``start`` on. Release it before the next call."""
        with self._content.getbuffer() as whole:
            return whole[start : self._end]

    def take(self) -> bytes:
        """The whole payload."""
        # For the next one, which may be a little larger.
        _malloc.reuse(self.length + self.length // 4)
        return self._content.getvalue()
