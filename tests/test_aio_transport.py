"""The transport of plain connections, beside the loop's own: the same tests for both.

What it is for, a driver that receives from the socket itself, is compared with the protocol core.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import socket
import sys
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from conftest import DEADLINE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.loops import loop_makers, run_on
from wire import frame

from websocket import aio
from websocket._protocol.connection import Connection as Core
from websocket._protocol.connection import Role
from websocket.aio._driver import Driver
from websocket.aio._options import settle
from websocket.aio._transport import SocketTransport
from websocket.testing import Server, echo

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(sys.platform == "win32", reason="not used there"),
]

LOOPS = loop_makers()


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Any:
    return lambda main: run_on(LOOPS[request.param], main, DEADLINE)


class Log(asyncio.BufferedProtocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.received = bytearray()
        self.told: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()
        self.stays = False
        self._room = bytearray(1000)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.told.append("made")

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self._room[:nbytes]
        self.changed.set()

    def eof_received(self) -> bool:
        self._note("eof")
        return self.stays

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self._note("lost")
        self.lost.set_result(exc)

    def _note(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


async def own(sock: socket.socket, log: Log) -> None:
    SocketTransport(asyncio.get_running_loop(), sock, log)


async def of_the_loop(sock: socket.socket, log: Log) -> None:
    make: Any = asyncio.get_running_loop().create_unix_connection
    await make(lambda: log, sock=sock)


@pytest.fixture(params=[own, of_the_loop])
def begin(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextlib.contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends; the second is the test's, which closes it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs:
        yield ours, theirs


@contextlib.asynccontextmanager
async def started(begin: Any) -> AsyncIterator[tuple[Log, socket.socket]]:
    """A transport's protocol, and the other end."""
    with pair() as (ours, theirs):
        log = Log()
        await begin(ours, log)
        yield log, theirs


async def take(sock: socket.socket, count: int) -> bytes:
    """So many bytes, or all until the end."""
    data = bytearray()
    while len(data) < count:
        part = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not part:
            break
        data += part
    return bytes(data)


class TestBothTransports:
    def test_there_and_back(self, run: Any, begin: Any) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                theirs.send(b"Hello")
                await log.until(lambda: log.received == b"Hello")
                for data in (b"one", bytearray(b"two"), memoryview(b"three"), b""):
                    log.transport.write(data)
                assert await take(theirs, 11) == b"onetwothree"
                log.transport.close()
                assert await log.lost is None
                assert log.told == ["made", "lost"]

        run(main())

    def test_what_waits_is_sent_in_order_and_the_protocol_is_told(
        self, run: Any, begin: Any
    ) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                log.transport.set_write_buffer_limits(100_000, 1000)
                parts = [bytes([i % 256]) * (7000 + i) for i in range(400)]
                for part in parts:
                    log.transport.write(part)
                assert log.told == ["made", "pause"]
                assert log.transport.get_write_buffer_size() > 100_000
                expected = b"".join(parts)
                assert await take(theirs, len(expected)) == expected
                await log.until(lambda: "resume" in log.told)
                assert log.told == ["made", "pause", "resume"]
                assert log.transport.get_write_buffer_size() == 0
                log.transport.close()
                await log.lost

        run(main())

    def test_close_sends_first_what_waits(self, run: Any, begin: Any) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                log.transport.write(b"x" * 3_000_000)
                log.transport.close()
                assert log.transport.is_closing()
                assert await take(theirs, 4_000_000) == b"x" * 3_000_000
                assert await log.lost is None

        run(main())

    def test_abort_does_not_wait(self, run: Any, begin: Any) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                log.transport.write(b"x" * 3_000_000)
                log.transport.close()
                log.transport.abort()
                log.transport.abort()
                assert await log.lost is None
                log.transport.abort()
                log.transport.close()
                assert len(await take(theirs, 4_000_000)) < 3_000_000

        run(main())

    @pytest.mark.parametrize("stays", [False, True])
    def test_the_end_of_the_stream(self, run: Any, begin: Any, stays: bool) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                log.stays = stays
                theirs.send(b"last")
                theirs.shutdown(socket.SHUT_WR)
                await log.until(lambda: "eof" in log.told)
                assert log.received == b"last"
                if stays:
                    assert not log.transport.is_closing()
                    log.transport.write(b"answer")
                    assert await take(theirs, 6) == b"answer"
                    log.transport.close()
                assert await log.lost is None
                assert log.told == ["made", "eof", "lost"]

        run(main())

    def test_paused(self, run: Any, begin: Any) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                assert log.transport.is_reading()
                log.transport.pause_reading()
                log.transport.pause_reading()
                assert not log.transport.is_reading()
                theirs.send(b"Hello")
                # Several turns of the loop, in each of which it could have read.
                for _ in range(5):
                    log.transport.write(b"!")
                    await take(theirs, 1)
                assert not log.received
                log.transport.resume_reading()
                log.transport.resume_reading()
                await log.until(lambda: log.received == b"Hello")
                log.transport.pause_reading()
                log.transport.close()
                await log.lost
                log.transport.resume_reading()

        run(main())

    def test_a_peer_that_has_gone(self, run: Any, begin: Any) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                log.transport.pause_reading()
                theirs.close()
                log.transport.write(b"x" * 3_000_000)
                assert isinstance(await log.lost, (BrokenPipeError, ConnectionResetError))

        run(main())

    def test_a_peer_that_goes_while_something_waits(self, run: Any, begin: Any) -> None:
        async def main() -> None:
            async with started(begin) as (log, theirs):
                log.stays = True
                log.transport.write(b"x" * 3_000_000)
                theirs.close()
                assert isinstance(await log.lost, (BrokenPipeError, ConnectionResetError))
                assert log.transport.get_write_buffer_size() == 0

        run(main())

    def test_what_it_tells(self, run: Any, begin: Any) -> None:
        async def main() -> None:
            with pair() as (ours, theirs):
                log = Log()
                await begin(ours, log)
                assert log.transport.get_extra_info("socket").fileno() == ours.fileno()
                assert log.transport.get_extra_info("sockname") == theirs.getpeername()
                assert log.transport.get_extra_info("weather", "fine") == "fine"
                assert log.transport.get_protocol() is log
                for given, limits in (
                    ((None, None), (16384, 65536)),
                    ((None, 10), (10, 40)),
                    ((80, None), (20, 80)),
                    ((80, 30), (30, 80)),
                ):
                    log.transport.set_write_buffer_limits(*given)
                    assert log.transport.get_write_buffer_limits() == limits
                log.transport.close()
                await log.lost

        run(main())


class TestOwnTransport:
    def test_addresses_outlive_the_connection(self, run: Any) -> None:
        async def main() -> None:
            async with aio.connect(server.url) as ws:
                ours = ws.get_extra_info("socket").getsockname()
            assert ws.local_address == ours
            assert ws.remote_address == ("127.0.0.1", server.port)

        with Server(echo) as server:
            run(main())

    def test_an_error_in_the_protocol_closes_it(self) -> None:
        class Broken(Log):
            def buffer_updated(self, nbytes: int) -> None:
                raise ZeroDivisionError

        async def main() -> None:
            complaints: list[Any] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: complaints.append(context))
            with pair() as (ours, theirs):
                log = Broken()
                await own(ours, log)
                theirs.send(b"Hello")
                assert isinstance(await log.lost, ZeroDivisionError)
            (context,) = complaints
            assert context["protocol"] is log
            assert isinstance(context["exception"], ZeroDivisionError)

        run_on(LOOPS["asyncio"], main(), DEADLINE)

    def test_one_that_is_forgotten_complains(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        async def main() -> None:
            await own(ours, Log())

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()
        with warnings.catch_warnings(record=True) as caught, theirs:
            warnings.simplefilter("always")
            del loop
            gc.collect()
            assert "unclosed transport" in str([w.message for w in caught])
            assert ours.fileno() == -1

    def test_a_socket_with_ways_of_its_own_is_asked(self, run: Any) -> None:
        class Counting(socket.socket):
            received = sent = 0

            def recv_into(self, *args: Any) -> int:
                count = super().recv_into(*args)
                self.received += count
                return count

            def send(self, *args: Any) -> int:
                count = super().send(*args)
                self.sent += count
                return count

        made: list[Counting] = []

        def factory(address: tuple[str, int], timeout: float | None) -> socket.socket:
            made.append(Counting())
            made[0].connect(address)
            return made[0]

        async def main() -> None:
            async with aio.connect(server.url, socket_factory=factory) as ws:
                before = made[0].received, made[0].sent
                for text in ("one", "two"):
                    await ws.send(text)
                    assert await ws.recv() == text
                after = made[0].received, made[0].sent
            assert after == (before[0] + 10, before[1] + 18)

        with Server(echo) as server:
            run(main())

    @pytest.mark.parametrize("kind", [bytes, bytearray, str])
    def test_large_messages_are_made_when_there_is_room(self, run: Any, kind: Any) -> None:
        """They come whole and in order, though the program goes on and changes its buffer."""
        size = 5_000_000
        block: Any = kind(bytes(range(256)) * (size // 256)) if kind is not str else "x€" * size
        expected = block.encode() if kind is str else bytes(block)

        async def main() -> None:
            with pair() as (ours, theirs):
                driver = Driver(Core(), settle({}), lambda count: None)
                SocketTransport(asyncio.get_running_loop(), ours, driver)
                driver.send(1, "first")
                driver.send(2 if kind is not str else 1, block)
                waiting = driver.transport.get_write_buffer_size()
                assert driver.blocked
                assert waiting > 1_000_000
                driver.send(9, b"ping")
                driver.send(2, b"last")
                if kind is bytearray:
                    block[:] = bytes(len(block))
                peer = Core(Role.SERVER, max_size=None)
                while len(peer.events) < 4:
                    peer.feed(await asyncio.get_running_loop().sock_recv(theirs, 1 << 20))
                first, large, _, last = peer.events
                assert (first, last) == ("first", b"last")
                assert (large.encode() if kind is str else large) == expected
                assert driver.bytes_sent == peer.counts.bytes_received
                driver.transport.abort()
                while not driver.closed:
                    await asyncio.sleep(0)

        run(main())

    def test_nothing_is_nothing(self, run: Any) -> None:
        async def main() -> None:
            async with started(own) as (log, theirs):
                log.transport.write(b"x" * 1_000_000)
                log.transport.write(b"")
                log.transport.close()
                assert len(await take(theirs, 2_000_000)) == 1_000_000
                assert await log.lost is None

        run(main())

    @pytest.mark.parametrize("face", ["awaited", "listener"])
    def test_a_loop_that_cannot_watch_sockets(self, face: str) -> None:
        class Loop(asyncio.SelectorEventLoop):
            def add_reader(self, *args: Any) -> Any:
                raise NotImplementedError

        class Heard(aio.Listener):
            def __init__(self) -> None:
                self.message = asyncio.get_running_loop().create_future()

            def on_message(self, message: str | bytes) -> None:
                self.message.set_result(message)

        async def main() -> None:
            if face == "awaited":
                async with aio.connect(server.url) as ws:
                    await ws.send("Hello")
                    assert await ws.recv() == "Hello"
                    assert not isinstance(ws._driver.transport, SocketTransport)
            else:
                heard = await aio.connect_listener(Heard(), server.url)
                heard.send("Hello")
                assert await heard.message == "Hello"
                await heard.close()

        with Server(echo) as server:
            run_on(Loop, main(), DEADLINE)


FRAMES = st.one_of(
    st.text(max_size=40).map(lambda text: frame(1, text.encode())),
    st.binary(max_size=3000).map(lambda data: frame(2, data)),
    st.binary(max_size=90).map(lambda data: frame(2, data[:50], fin=False) + frame(0, data[50:])),
    st.integers(60_000, 70_000).map(lambda size: frame(2, bytes(size))),
    st.binary(max_size=125).map(lambda data: frame(9, data)),
    st.sampled_from(
        [frame(10), frame(8, b"\x03\xe8"), frame(1, b"\xff"), frame(3), frame(2, b"x" * 200_000)]
    ),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 4000), min_size=1, max_size=5))
def test_receiving_from_the_socket_is_receiving(frames: list[bytes], cuts: list[int]) -> None:
    """However the stream is cut, the driver gets what the core makes of it."""
    stream = b"".join(frames)
    core = Core(max_size=150_000)
    core.feed(stream)
    wanted = [event for event in core.events if isinstance(event, (str, bytes))]

    async def main() -> tuple[list[Any], Driver]:
        got: list[Any] = []

        def deliver(count: int) -> None:
            got.extend(driver.core.events)
            driver.core.events.clear()

        driver = Driver(Core(max_size=150_000), settle({}), deliver)
        with pair() as (ours, theirs):
            transport: Any = SocketTransport(asyncio.get_running_loop(), ours, driver)
            rest, turn = memoryview(stream), 0
            while rest:
                size = cuts[turn % len(cuts)] * (30 if len(rest) > 100_000 else 1)
                turn += 1
                sent = theirs.send(rest[:size])
                rest = rest[sent:]
                while not transport.is_closing() and select.select([ours], [], [], 0)[0]:
                    transport.fast_path()
            driver.transport.abort()
            while not driver.closed:
                await asyncio.sleep(0)
        return got, driver

    got, driver = asyncio.run(main())
    assert got == wanted
    counts = driver.core.counts
    assert counts.messages_received == len(wanted)
    assert counts.bytes_received >= sum(map(len, wanted))
    assert counts.pings_received == core.counts.pings_received
    kinds = [type(event) for event in (driver.end, core.events[-1] if core.ended else None)]
    assert kinds[0] is kinds[1] or not core.ended
