"""The fast path inside of a listener and of a connection, and the ways off it and back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from badservers import TEXT, Peer
from conftest import DEADLINE
from loopback import serve, wait_for_end
from support.loops import loop_makers, run_on
from wire import Parsed, frame, parse

from websocket import WebSocketTimeoutException, aio
from websocket._protocol.connection import Connection as Core
from websocket.aio._driver import Driver
from websocket.aio._options import settle
from websocket.aio._transport import SocketTransport

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(sys.platform == "win32", reason="not used there"),
]

LOOPS = loop_makers()


@pytest.fixture(params=sorted(LOOPS))
def make_loop(request: pytest.FixtureRequest) -> Any:
    return LOOPS[request.param]


@pytest.fixture
def run(make_loop: Any) -> Any:
    return lambda main: run_on(make_loop, main, DEADLINE)


def take_small_frame(sock: socket.socket) -> Parsed:
    head = sock.recv(2, socket.MSG_WAITALL)
    rest = sock.recv(4 + (head[1] & 0x7F), socket.MSG_WAITALL)
    return parse(head + rest)[0]


@contextlib.contextmanager
def scripted(*batches: bytes) -> Iterator[str]:
    """The address of a peer that sends one of these for each text that it receives."""

    def handler(sock: socket.socket) -> None:
        Peer(sock).accept()
        for batch in batches:
            while take_small_frame(sock).opcode != TEXT:
                pass
            sock.sendall(batch)
        wait_for_end(sock)

    with serve(handler) as server:
        yield f"ws://127.0.0.1:{server.port}/"


def text(*messages: str) -> bytes:
    return b"".join(frame(1, message.encode()) for message in messages)


class Recorder(aio.Listener):
    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.changed = asyncio.Event()
        self.failures: dict[str | bytes, BaseException] = {}

    def on_message(self, message: str | bytes) -> None:
        self.messages.append(message)
        self.changed.set()
        if message in self.failures:
            raise self.failures.pop(message)

    async def until(self, count: int) -> None:
        while len(self.messages) < count:
            self.changed.clear()
            await self.changed.wait()


def test_an_exception_costs_no_message(make_loop: Any) -> None:
    complaints: list[Any] = []

    async def main() -> Recorder:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: complaints.append(context))
        listener = Recorder()
        listener.failures["b"] = ValueError("a mistake")
        with scripted(text("a", "b", "c", "d"), text("e")) as url:
            await aio.connect_listener(listener, url)
            listener.send("go")
            await listener.until(4)
            listener.send("go")
            await listener.until(5)
            listener.abort()
            await listener.wait_closed()
        return listener

    listener = run_on(make_loop, main(), DEADLINE)
    assert listener.messages == ["a", "b", "c", "d", "e"]
    assert [str(context["exception"]) for context in complaints] == ["a mistake"]
    assert listener.stats.messages_received == 5


def test_ctrl_c_costs_no_message(make_loop: Any) -> None:
    """The loop ends in the middle of what came. If it runs again, it goes on there."""
    loop = make_loop()
    try:
        with scripted(text("a", "b", "c"), text("d")) as url:

            async def begin() -> Recorder:
                listener = Recorder()
                listener.failures["b"] = KeyboardInterrupt()
                await aio.connect_listener(listener, url)
                return listener

            listener = loop.run_until_complete(begin())

            async def ask(count: int) -> None:
                listener.send("go")
                await listener.until(count)

            asking = loop.create_task(ask(4))
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(asking)
            assert listener.messages == ["a", "b"]
            listener.send("go")
            loop.run_until_complete(asyncio.wait_for(asking, DEADLINE))
            assert listener.messages == ["a", "b", "c", "d"]
            listener.abort()
            loop.run_until_complete(listener.wait_closed())
    finally:
        loop.close()


def test_what_is_not_usual_comes_in_its_turn(run: Any) -> None:
    large = "x" * 100_000
    batches = [
        text("a", "b") + frame(9, b"ping") + text("c"),
        frame(1, b"d", fin=False),
        frame(10) + frame(0, b"d") + text("e")[:-1],
        b"e" + text("f"),
        text(large, "g"),
        text("h"),
        text("i"),
    ]
    expected = ["a", "b", "c", "dd", "e", "f", large, "g", "h", "i"]

    async def main() -> None:
        with scripted(*batches) as url:
            listener = await aio.connect_listener(Recorder(), url)
            for count in (3, 3, 4, 6, 8, 9, 10):
                listener.send("go")
                await listener.until(count)
            assert listener.messages == expected
            for _ in range(2):
                stats = listener.stats
                assert stats.messages_received == len(expected)
                assert stats.bytes_received == sum(map(len, batches))
                listener.abort()
                await listener.wait_closed()

    run(main())


def test_pieces_are_taken_between_messages(run: Any) -> None:
    async def main() -> None:
        with scripted(text("a", "b"), text("pieces"), text("c"), text("d")) as url:
            async with aio.connect(url, close_timeout=0.1) as ws:
                await ws.send("go")
                assert [await ws.recv(), await ws.recv()] == ["a", "b"]
                await ws.send("go")
                pieces = [piece async for piece in ws.recv_stream(decode=False)]
                assert b"".join(pieces) == b"pieces"
                for message in ("c", "d"):
                    await ws.send("go")
                    assert await ws.recv() == message
                assert ws.stats.messages_received == 5

    run(main())


def test_a_stream_that_is_given_up_leaves_no_trace(run: Any) -> None:
    async def main() -> None:
        with scripted(text("a"), text("b")) as url:
            async with aio.connect(url, close_timeout=0.1) as ws:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(ws.recv_stream().__anext__(), 0.01)
                for message in ("a", "b"):
                    await ws.send("go")
                    assert await ws.recv() == message

    run(main())


@pytest.mark.parametrize("face", ["awaited", "listener"])
def test_small_messages_stand_behind_large_ones(run: Any, face: str) -> None:
    """A message does not pass those that wait for room."""
    taken = bytearray()

    def handler(sock: socket.socket) -> None:
        Peer(sock).accept()
        began.wait(DEADLINE)
        while len(taken) < total and (data := sock.recv(1 << 20)):
            taken.extend(data)
        sock.sendall(frame(8, b"\x03\xe8"))
        sock.shutdown(socket.SHUT_WR)
        wait_for_end(sock)

    began = threading.Event()
    sent = [b"first", bytes(8_000_000), b"small", "text", b"last"]
    large = 14 + 8_000_000
    total = 11 + large + 11 + 10 + 10

    async def main(url: str) -> None:
        if face == "listener":
            listener = await aio.connect_listener(Recorder(), url)
            for message in sent:
                listener.send(message)
            began.set()
            await listener.drain()
            assert listener.stats.messages_sent == len(sent)
            await listener.close()
            return
        async with aio.connect(url, write_limit=20_000_000) as ws:
            for message in sent:
                await ws.send(message)
            began.set()
            assert ws.stats.messages_sent == len(sent)

    with serve(handler) as server:
        run(main(f"ws://127.0.0.1:{server.port}/"))
    tail = parse(bytes(taken[11 + large :]))
    assert [frame.payload for frame in tail][:3] == [b"small", b"text", b"last"]


def test_nothing_is_handed_over_after_a_close(run: Any) -> None:
    dropped = threading.Event()

    def handler(sock: socket.socket) -> None:
        Peer(sock).accept()
        while take_small_frame(sock).opcode != 8:
            pass
        sock.sendall(text("late"))
        dropped.wait(DEADLINE)
        sock.sendall(frame(8, b"\x03\xe8"))
        sock.shutdown(socket.SHUT_WR)
        wait_for_end(sock)

    async def main(url: str) -> None:
        listener = await aio.connect_listener(Recorder(), url)
        closing = asyncio.ensure_future(listener.close())
        while not listener.stats.bytes_received:
            await asyncio.sleep(0.001)
        dropped.set()
        await closing
        assert listener.messages == []
        assert listener.close_code == 1000

    with serve(handler) as server:
        run(main(f"ws://127.0.0.1:{server.port}/"))


@contextlib.asynccontextmanager
async def driven(**options: Any) -> AsyncIterator[tuple[Any, Any, socket.socket]]:
    """A driver, its transport, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs:
        driver = Driver(Core(), settle(options), lambda count: None)
        transport = SocketTransport(asyncio.get_running_loop(), ours, driver)
        yield driver, transport, theirs
        transport.abort()
        while ours.fileno() >= 0:
            await asyncio.sleep(0)


def test_what_comes_the_short_way_is_a_sign_of_life(run: Any) -> None:
    async def main() -> None:
        async with driven(ping_interval=10, ping_timeout=5) as (driver, transport, theirs):
            start = driver.time()
            driver.time = lambda: start + 11
            driver._keep_alive()
            assert [frame.opcode for frame in parse(theirs.recv(100))] == [9]
            theirs.send(text("a"))
            transport.fast_path()
            assert list(driver.core.events) == ["a"]
            driver.time = lambda: start + 16.5
            driver._keep_alive()
            assert driver.end is None
            driver.core.events.clear()
            driver.time = lambda: start + 22
            driver._keep_alive()
            assert isinstance(driver.end, WebSocketTimeoutException)

    run(main())


def test_the_short_way_is_open_again_when_nothing_waits(run: Any) -> None:
    async def main() -> None:
        async with driven() as (driver, transport, theirs):
            assert transport.fast_path.sends
            driver.send(2, bytes(2_000_000))
            assert not transport.fast_path.sends
            left = 2_000_000 + 14
            while left:
                left -= len(await asyncio.get_running_loop().sock_recv(theirs, left))
            while transport.get_write_buffer_size():
                await asyncio.sleep(0)
            assert transport.fast_path.sends
            assert driver.send_fast("x")
            assert [frame.payload for frame in parse(theirs.recv(100))] == [b"x"]

    run(main())


def test_another_protocol_gets_what_comes_then(run: Any) -> None:
    class Other(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.room = bytearray(100)
            self.count = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.room

        def buffer_updated(self, nbytes: int) -> None:
            self.count.set_result(nbytes)

    async def main() -> None:
        async with driven() as (driver, transport, theirs):
            other = Other()
            transport.set_protocol(other)
            theirs.send(text("a"))
            assert await other.count == 3
            assert not driver.core.events
            driver.connection_lost(None)

    run(main())
