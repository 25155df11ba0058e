"""The receive buffer: what was written comes out again, and memory follows what is pending."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from websocket._protocol.buffer import READ_SIZE, SMALLEST, ReceiveBuffer


def write(buffer: ReceiveBuffer, data: bytes) -> int:
    """Write what fits of ``data``; its size."""
    with buffer.writable() as free:
        count = min(len(free), len(data))
        free[:count] = data[:count]
    buffer.wrote(count)
    return count


def fill(buffer: ReceiveBuffer, size: int) -> None:
    while size:
        size -= write(buffer, bytes(min(size, READ_SIZE)))


def pending(buffer: ReceiveBuffer) -> bytes:
    return bytes(buffer.data[buffer.start : buffer.end])


def spare(buffer: ReceiveBuffer) -> int:
    """Bytes held beyond those that are pending."""
    return len(buffer.data) - len(buffer)


class Moves(ReceiveBuffer):
    """Counts the bytes that were moved to make room."""

    __slots__ = ("moved",)

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    def _compact(self) -> None:
        self.moved += len(self)
        super()._compact()

    def _resize(self, size: int) -> None:
        self.moved += self.end
        super()._resize(size)


class TestContent:
    def test_new(self):
        buffer = ReceiveBuffer()
        assert len(buffer) == 0
        assert len(buffer.data) == SMALLEST

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_against_a_model(self, data):
        """Any writes and any consumption: a queue of bytes within its bound of memory."""
        buffer = ReceiveBuffer()
        model = bytearray()
        source = random.Random(1)
        sizes = st.one_of(
            st.integers(0, 5), st.integers(0, 5000), st.just(READ_SIZE), st.just(3 * READ_SIZE)
        )
        for action, size in data.draw(st.lists(st.tuples(st.booleans(), sizes), max_size=30)):
            if action:
                octets = source.randbytes(size)
                count = write(buffer, octets)
                assert count == size or count >= SMALLEST // 2
                model += octets[:count]
            else:
                taken = min(size, len(buffer))
                assert buffer.data[buffer.start : buffer.start + taken] == model[:taken]
                buffer.start += taken
                del model[:taken]
            assert len(buffer) == len(model)
            assert pending(buffer) == model
            with buffer.writable() as free:
                assert len(free) >= SMALLEST // 2
            assert pending(buffer) == model
            assert spare(buffer) <= max(READ_SIZE, len(buffer) // 8)

    def test_wrote_nothing(self):
        buffer = ReceiveBuffer()
        write(buffer, b"abc")
        buffer.writable().release()
        buffer.wrote(0)
        assert pending(buffer) == b"abc"

    def test_clear(self):
        buffer = ReceiveBuffer()
        fill(buffer, 5 * READ_SIZE)
        buffer.clear()
        assert len(buffer) == 0
        assert len(buffer.data) == SMALLEST
        write(buffer, b"again")
        assert pending(buffer) == b"again"


class TestMemory:
    def test_idle_connections_cost_little(self):
        buffer = ReceiveBuffer()
        for _ in range(1000):
            write(buffer, bytes(100))
            buffer.start = buffer.end
        buffer.writable().release()
        assert len(buffer.data) == SMALLEST

    def test_grows_while_reads_fill_it(self):
        buffer = ReceiveBuffer()
        sizes = []
        for _ in range(6):
            write(buffer, bytes(READ_SIZE))
            buffer.start = buffer.end
            sizes.append(len(buffer.data))
        assert sizes == sorted(sizes)
        assert sizes[-1] == READ_SIZE

    def test_shrinks_after_small_reads(self):
        buffer = ReceiveBuffer()
        for _ in range(6):
            write(buffer, bytes(READ_SIZE))
            buffer.start = buffer.end
        for _ in range(200):
            write(buffer, b"small")
            buffer.start = buffer.end
        buffer.writable().release()
        assert len(buffer.data) == SMALLEST

    def test_a_large_read_now_and_then_keeps_it(self):
        buffer = ReceiveBuffer()
        for _ in range(6):
            write(buffer, bytes(READ_SIZE))
            buffer.start = buffer.end
        for i in range(200):
            write(buffer, bytes(READ_SIZE // 2 if i % 10 == 0 else 5))
            buffer.start = buffer.end
        assert len(buffer.data) == READ_SIZE

    @pytest.mark.parametrize("left", [0, 1, 5000])
    def test_gives_a_large_frame_back(self, left):
        buffer = ReceiveBuffer()
        fill(buffer, 10 << 20)
        buffer.start = buffer.end - left
        buffer.trim()
        assert len(buffer) == left
        assert spare(buffer) <= READ_SIZE
        fill(buffer, 10 << 20)
        buffer.start = buffer.end - left
        buffer.writable().release()
        assert spare(buffer) <= READ_SIZE

    def test_trim_leaves_alone_what_is_within_the_bound(self):
        buffer = ReceiveBuffer()
        write(buffer, b"abc")
        buffer.start += 1
        data = buffer.data
        buffer.trim()
        assert buffer.data is data
        assert (buffer.start, buffer.end) == (1, 3)

    @pytest.mark.parametrize("step", [1, 7, 100, SMALLEST, READ_SIZE])
    def test_moves_are_paid_for_by_bytes_received(self, step):
        """The bytes of a growing frame are moved a bounded number of times each."""
        buffer = Moves()
        write(buffer, b"header")
        buffer.start += 4
        total = min(20_000 * step, 16 << 20)
        for _ in range(total // step):
            write(buffer, bytes(step))
        assert buffer.moved <= 16 * total + 16 * SMALLEST

    @pytest.mark.parametrize("size", [1, 30, 3000, 100_000])
    def test_moves_are_bounded_in_a_stream_of_frames(self, size):
        """Frames are consumed as they are whole, reads end anywhere."""
        buffer = Moves()
        source = random.Random(size)
        received = 0
        while received < max(50_000, 100 * size):
            received += write(buffer, bytes(source.randint(1, 2 * size)))
            buffer.start += len(buffer) // size * size
        assert buffer.moved <= 16 * received


class TestViewsStillHeld:
    """A view that somebody keeps must neither break the buffer nor see what comes later."""

    def test_growing(self):
        buffer = ReceiveBuffer()
        fill(buffer, 100)
        with memoryview(buffer.data) as held:
            fill(buffer, 100_000)
            assert len(held) == SMALLEST
        assert len(buffer) == 100_100

    def test_shrinking(self):
        buffer = ReceiveBuffer()
        fill(buffer, 10 << 20)
        buffer.start = buffer.end - 3
        buffer.data[buffer.start : buffer.end] = b"end"
        with memoryview(buffer.data):
            buffer.trim()
            assert pending(buffer) == b"end"
            assert spare(buffer) <= READ_SIZE

    def test_moving(self):
        buffer = ReceiveBuffer()
        write(buffer, b"consumed, pending")
        buffer.start += 10
        with memoryview(buffer.data):
            buffer.writable().release()
        assert pending(buffer) == b"pending"
