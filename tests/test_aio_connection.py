"""The connection that a program awaits: receiving, sending, closing, and being cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from badservers import CLOSE, CONT, TEXT, BadServer, Peer, close_payload
from conftest import DEADLINE
from loopback import serve
from support.loops import loop_makers, run_on
from support.virtual import Pipe, connection, run_virtually
from wire import frame, parse

import websocket
from websocket import (
    WebSocketArgumentException,
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketMessageTooBigException,
    WebSocketPayloadException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
    aio,
)
from websocket.aio._waiters import Waiters
from websocket.testing import Server, ServerConnection

pytestmark = pytest.mark.usefixtures("no_leaks")


LOOPS = loop_makers()
NO_UVLOOP = pytest.mark.skipif("uvloop" not in LOOPS, reason="no uvloop here")


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=NO_UVLOOP)])
def run(request: pytest.FixtureRequest) -> Any:
    """Runs a coroutine on a loop of either maker, in debug mode."""
    return lambda main: run_on(LOOPS[request.param], main, DEADLINE)


@contextlib.contextmanager
def scripted(script: Any) -> Iterator[str]:
    """A server that accepts, runs the script, and waits for the end."""

    def handler(sock: Any) -> None:
        peer = Peer(sock)
        peer.accept()
        script(peer)
        peer.wait_for_end()

    with serve(handler) as server:
        yield f"ws://127.0.0.1:{server.port}/"


def say(*frames: bytes) -> Any:
    return lambda peer: peer.send(b"".join(frames))


# --- receiving


def test_decoding_as_wanted(run: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url, close_timeout=0) as ws:
            assert await ws.recv(decode=False) == "é".encode()
            assert await ws.recv(decode=True) == "é"
            assert await ws.recv(decode=True) == "joined"
            with pytest.raises(WebSocketPayloadException):
                await ws.recv(decode=True)
            assert await ws.recv() == b"\xff"

    frames = (
        frame(TEXT, "é".encode()),
        frame(2, "é".encode()),
        frame(2, b"join", fin=False),
        frame(CONT, b"ed"),
        frame(2, b"\xff"),
    )
    with scripted(say(*frames)) as url:
        run(main(url))


def test_a_receive_that_timed_out_has_lost_nothing(run: Any) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(frame(TEXT, b"one", fin=False) + frame(CONT, b" two")[:3])
        assert go.wait(DEADLINE)
        peer.send(frame(CONT, b" two")[3:])

    async def main(url: str) -> None:
        async with aio.connect(url, close_timeout=0) as ws:
            with pytest.raises(WebSocketTimeoutException):
                await ws.recv(timeout=0)
            with pytest.raises(WebSocketTimeoutException):
                await ws.recv(timeout=0.05)
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                await asyncio.wait_for(ws.recv(), 0.05)
            go.set()
            assert await ws.recv(timeout=DEADLINE) == "one two"

    with scripted(script) as url:
        run(main(url))


def test_one_that_has_waited_long_enough_is_forgotten(run: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        waiters = Waiters(loop)
        with pytest.raises(WebSocketTimeoutException):
            await waiters.wait(loop.time())
        assert not waiters
        # Late, and woken in the same turn: the one behind it is woken instead.
        late = asyncio.ensure_future(waiters.wait(loop.time()))
        behind = asyncio.ensure_future(waiters.wait())
        await asyncio.sleep(0)
        loop.call_at(loop.time(), waiters.wake)
        await behind
        with pytest.raises(WebSocketTimeoutException):
            await late
        assert not waiters

    run(main())


def test_a_message_for_a_cancelled_receiver_goes_to_the_next() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None)
        first = asyncio.ensure_future(ws.recv())
        second = asyncio.ensure_future(ws.recv())
        await asyncio.sleep(0)
        pipe.incoming += frame(TEXT, b"only one")
        pipe.move_in(100)
        # Woken already, but not running yet.
        first.cancel()
        assert await second == "only one"
        with pytest.raises(asyncio.CancelledError):
            await first
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_many_receivers_share_the_messages(run: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url, close_timeout=0) as ws:
            received = await asyncio.gather(*(ws.recv() for _ in range(50)))
            assert sorted(received, key=int) == [str(i) for i in range(50)]

    with scripted(say(*(frame(TEXT, str(i).encode()) for i in range(50)))) as url:
        run(main(url))


def test_a_program_that_does_not_read_holds_the_server_back(run: Any) -> None:
    sent = 0
    message = b"x" * 10_000

    def handler(peer: ServerConnection) -> None:
        nonlocal sent
        with contextlib.suppress(WebSocketConnectionClosedException):
            for number in range(4000):
                peer.send(b"%d " % number + message)
                sent += 1

    async def main(url: str) -> None:
        async with aio.connect(url, max_queue=10) as ws:
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.2)
            # The rest is in the kernel's buffers; the program holds what one read brought.
            assert sent < 4000
            assert ws.stats.messages_received < 10 + 27
            for number in range(4000):
                got = await ws.recv()
                assert isinstance(got, bytes)
                assert got.startswith(b"%d " % number)

    with Server(handler) as server:
        run(main(server.url))


def test_the_queue_is_bounded_in_bytes_too() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None, max_queue_size=1000)
        pipe.incoming += frame(2, bytes(600)) * 3
        pipe.move_in(700)
        assert pipe.reading
        pipe.move_in(700)
        assert not pipe.reading
        assert len(await ws.recv()) == 600
        assert not pipe.reading
        await ws.recv()
        assert pipe.reading
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_pings_do_not_fill_the_queue() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None, max_queue=5)
        for number in range(20):
            pipe.incoming += frame(9, b"%d" % number)
            pipe.move_in(100)
        assert pipe.reading
        answers = parse(bytes(pipe.outgoing))
        assert [answer.opcode for answer in answers] == [10] * 20
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_peer_that_pings_and_does_not_read_gets_the_latest_pong() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None)
        for number in range(1000):
            pipe.incoming += frame(9, b"%04d" % number)
        pipe.move_in(100_000)
        size = len(pipe.outgoing)
        assert size < 1000
        pipe.move_out(size)
        (latest,) = parse(bytes(pipe.outgoing))
        assert latest.payload == b"0999"
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


# --- a message in pieces


async def pieces_of(stream: aio.MessageStream) -> list[str | bytes]:
    return [piece async for piece in stream]


def test_streaming_receive(run: Any) -> None:
    euro = "€".encode()
    frames = (
        frame(TEXT, b"a" + euro[:1], fin=False),
        frame(CONT, euro[1:2], fin=False),
        frame(CONT, euro[2:] + b"b"),
        frame(2, b"\x01", fin=False),
        frame(CONT, b"", fin=False),
        frame(CONT, b"\x02"),
        frame(TEXT, b"whole"),
        frame(TEXT, b""),
        frame(TEXT, b"last"),
    )

    async def main(url: str) -> None:
        async with aio.connect(url, close_timeout=0) as ws:
            assert "".join(await pieces_of(ws.recv_stream())) == "a€b"  # type: ignore[arg-type]
            assert b"".join(await pieces_of(ws.recv_streaming())) == b"\x01\x02"  # type: ignore[arg-type]
            assert await pieces_of(ws.recv_stream(decode=False)) == [b"whole"]
            assert await pieces_of(ws.recv_stream()) == [""]
            assert await ws.recv() == "last"

    with scripted(say(*frames)) as url:
        run(main(url))


def test_a_stream_hands_over_what_is_there() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None)
        stream = ws.recv_stream()
        first = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        # One frame, its end not there yet; "é" is cut.
        whole = frame(TEXT, b"a" * 10_000 + "é".encode() + b"b" * 10_000)
        pipe.incoming += whole[:10_005]
        pipe.move_in(100_000)
        received = [await first]
        assert set(received[0]) == {"a"}
        pipe.incoming += whole[10_005:] + frame(TEXT, b"next")

        async def move() -> None:
            while pipe.incoming:
                await asyncio.sleep(0.1)
                pipe.move_in(3000)

        moving = asyncio.ensure_future(move())
        received += await pieces_of(stream)
        assert len(received) > 5
        assert "".join(received) == "a" * 10_000 + "é" + "b" * 10_000  # type: ignore[arg-type]
        await moving
        assert await ws.recv() == "next"
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_stream_that_is_left_early_or_given_up() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None)
        with pytest.raises((asyncio.TimeoutError, TimeoutError)):
            await asyncio.wait_for(ws.recv_stream().__anext__(), 1)
        pipe.incoming += frame(TEXT, b"as a whole")
        pipe.move_in(1000)
        assert await ws.recv() == "as a whole"
        stream = ws.recv_stream()
        first = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        pipe.incoming += frame(TEXT, b"left ", fin=False)
        pipe.move_in(1000)
        assert await first == "left "
        pipe.incoming += frame(CONT, b"ear", fin=False) + frame(CONT, b"ly") + frame(TEXT, b"next")
        pipe.move_in(1000)
        assert await ws.recv() == "next"
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_stream_goes_on_where_a_receive_was_given_up() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None)
        euro = "€".encode()
        pipe.incoming += frame(TEXT, b"one " + euro[:1], fin=False)
        pipe.move_in(100)
        with pytest.raises(WebSocketTimeoutException):
            await ws.recv(timeout=1)
        pipe.incoming += frame(CONT, euro[1:])
        pipe.move_in(100)
        assert "".join(await pieces_of(ws.recv_stream())) == "one €"  # type: ignore[arg-type]
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_stream_is_held_back_and_can_be_closed(run: Any) -> None:
    codes: list[int | None] = []

    def script(peer: Peer) -> None:
        peer.send(frame(2, bytes(70_000), fin=False))
        peer.endless(frame(CONT, bytes(70_000), fin=False))
        codes.append(peer.finish())

    async def main(url: str) -> None:
        async with aio.connect(url) as ws:
            async for piece in ws.recv_stream():
                assert set(piece) == {0}
                break
            await asyncio.sleep(0.3)
            # Nobody has taken the pieces, so no more of them were read.
            assert ws.stats.bytes_received < 2_000_000
            await ws.close(1001)
            assert ws.close_code == 1001

    with scripted(script) as url:
        run(main(url))
    assert codes == [1001]


def test_fragments_count_for_max_size(run: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url, max_size=10) as ws:
            with pytest.raises(WebSocketMessageTooBigException):
                await ws.recv()

    with scripted(say(frame(TEXT, b"12345678", fin=False), frame(CONT, b"9ab"))) as url:
        run(main(url))


@pytest.mark.parametrize("compression", ["deflate", websocket.Deflate(threshold=0)])
def test_compression(run: Any, compression: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url, compression=compression) as ws:
            assert ws.compressed
            text = "the same again and again " * 10_000
            await ws.send(text)
            assert await ws.recv() == text
            assert ws.stats.bytes_sent < len(text) / 50
            await ws.send([text, text])
            assert await ws.recv() == text * 2
            await ws.send_many([text] * 3)
            assert [await ws.recv() for _ in range(3)] == [text] * 3
            await ws.send(text.encode())
            assert b"".join(await pieces_of(ws.recv_stream())) == text.encode()  # type: ignore[arg-type]
            assert ws.stats.messages_sent == 6

    with Server(compression=compression) as server:
        run(main(server.url))


def test_messages_from_iterables(run: Any) -> None:
    async def later(*pieces: Any) -> AsyncIterator[Any]:
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece

    async def main(url: str) -> None:
        async with aio.connect(url) as ws:
            await ws.send(["é", "", "€"])
            assert await ws.recv() == "é€"
            await ws.send(later(b"\xff", bytearray(b"\xfe"), memoryview(b"\xfd")))
            assert await ws.recv() == b"\xff\xfe\xfd"
            await ws.send(["€".encode()[:1], "€".encode()[1:]], text=True)
            assert await ws.recv() == "€"
            await ws.send(["as", "bytes"], text=False)
            assert await ws.recv() == b"asbytes"
            await ws.send([])
            await ws.send(later())
            await ws.send("whole", text=False)
            assert await ws.recv() == b"whole"
            for wrong in (5, None, {"a": 1}, [5], [{}]):
                with pytest.raises(TypeError):
                    await ws.send(wrong)  # type: ignore[arg-type]
            await ws.send("still open")
            assert await ws.recv() == "still open"
            assert ws.stats.messages_sent == ws.stats.messages_received == 6

    with Server() as server:
        run(main(server.url))


def test_others_wait_for_the_end_of_a_message_in_pieces(run: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url) as ws:
            go = asyncio.Event()

            async def pieces() -> AsyncIterator[str]:
                yield "one "
                await go.wait()
                yield "two"

            first = asyncio.ensure_future(ws.send(pieces()))
            while not ws.stats.bytes_sent:
                await asyncio.sleep(0)
            second = asyncio.ensure_future(ws.send("three"))
            given_up = asyncio.ensure_future(ws.send("four"))
            # A control frame may go in between.
            await (await ws.ping())
            given_up.cancel()
            assert not second.done()
            go.set()
            await asyncio.gather(first, second)
            assert [await ws.recv(), await ws.recv()] == ["one two", "three"]
            with pytest.raises(asyncio.CancelledError):
                await given_up

    with Server() as server:
        run(main(server.url))


@pytest.mark.parametrize(
    ("pieces", "error"),
    [(["good", b"bad"], TypeError), ([b"good", b"\xff"], WebSocketPayloadException)],
)
def test_a_message_that_can_not_be_finished_closes_the_connection(
    pieces: list[Any], error: type[Exception]
) -> None:
    received: list[Any] = []

    def handler(peer: ServerConnection) -> None:
        received.extend(peer)
        received.append(peer.close_code)

    async def main(url: str) -> None:
        ws = await aio.connect(url)
        with pytest.raises(error):
            await ws.send(pieces, text=True)
        with pytest.raises(WebSocketConnectionClosedException):
            await ws.send("afterwards")
        await ws.wait_closed()

    with Server(handler) as server:
        asyncio.run(main(server.url))
    assert received == [1011]


# --- sending


def test_a_send_waits_for_room(run: Any) -> None:
    go = threading.Event()
    received: list[Any] = []

    def handler(peer: ServerConnection) -> None:
        assert go.wait(DEADLINE)
        for message in peer:
            received.append(message[:10])

    async def main(url: str) -> None:
        sent = 0
        async with aio.connect(url, close_timeout=None) as ws:
            with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
                while True:
                    await asyncio.wait_for(ws.send(f"{sent:10}" + "x" * 100_000), 0.5)
                    sent += 1
            before = ws.stats.bytes_sent
            with pytest.raises((asyncio.TimeoutError, TimeoutError)):
                await asyncio.wait_for(ws.send("never"), 0.05)
            assert ws.stats.bytes_sent == before
            go.set()
            await ws.send("finally...")
        assert received == [*(f"{i:10}" for i in range(sent)), "finally..."]

    with Server(handler) as server:
        run(main(server.url))


def test_batches(run: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url) as ws:
            messages = [str(i) if i % 2 else b"%d" % i * 50 for i in range(3000)]
            sending = asyncio.ensure_future(ws.send_many(messages))
            assert [await ws.recv() for _ in messages] == messages
            assert await sending == 3000

            async def later() -> AsyncIterator[str]:
                yield "a"
                yield "b"

            assert await ws.send_many(later()) == 2
            with pytest.raises(TypeError):
                await ws.send_many(["c", 5])  # type: ignore[list-item]
            assert [await ws.recv() for _ in range(3)] == ["a", "b", "c"]

    with Server() as server:
        run(main(server.url))


def test_what_can_not_be_sent(run: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url) as ws:
            with pytest.raises(WebSocketPayloadException):
                await ws.send("\ud800")
            with pytest.raises(WebSocketPayloadException):
                await ws.send(b"\xff", text=True)
            with pytest.raises(WebSocketArgumentException):
                await ws.ping(b"x" * 126)
            with pytest.raises(WebSocketArgumentException):
                await ws.close(1005)
            await ws.send("still open")
            assert await ws.recv() == "still open"

    with Server() as server:
        run(main(server.url))


# --- ping and keepalive


def test_pings(run: Any) -> None:
    async def main(url: str) -> None:
        ws = await aio.connect(url)
        assert ws.latency is None
        first = await ws.ping("one")
        second = await ws.ping()
        assert await first >= 0
        assert await second >= 0
        assert ws.latency == second.result()
        given_up = await ws.ping()
        given_up.cancel()
        await ws.pong("unasked")
        await (await ws.ping())
        await ws.close()
        with pytest.raises(WebSocketConnectionClosedException):
            await ws.ping()

    with Server() as server:
        run(main(server.url))


def test_a_pong_behind_messages_that_nobody_receives() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None, max_queue=3)
        early = await ws.ping()
        for number in range(3):
            pipe.incoming += frame(TEXT, b"%d" % number)
        pipe.move_in(1000)
        assert not pipe.reading
        with pytest.raises(WebSocketException, match=r"none of 3 messages .* for 10 seconds"):
            await early
        assert 10 <= pipe.loop.time() < 11
        with pytest.raises(WebSocketException, match="receive while waiting"):
            await (await ws.ping())
        # The connection is none the worse for it.
        assert [await ws.recv() for _ in range(3)] == ["0", "1", "2"]
        pong = await ws.ping()
        pipe.move_out(1000)
        pipe.move_in(1000)
        assert await pong == ws.latency
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_pong_behind_messages_that_a_slow_program_receives() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None, max_queue=10)
        for number in range(10):
            pipe.incoming += frame(TEXT, b"%d" % number)
        pipe.move_in(1000)
        pong = await ws.ping()
        for number in range(10):
            await asyncio.sleep(9)
            assert not pong.done()
            assert await ws.recv() == str(number)
        pipe.move_out(1000)
        pipe.move_in(1000)
        assert await pong >= 90
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_listener_that_has_paused_gets_no_pong() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=None)
        pong = await ws.ping()
        ws._driver.pause_reading()
        with pytest.raises(WebSocketException, match="reading has been paused"):
            await pong
        # One that is called off, or comes in time, leaves nothing to be minded.
        given_up = await ws.ping()
        given_up.cancel()
        await asyncio.sleep(30)
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_pong_that_never_comes(run: Any) -> None:
    async def main(url: str) -> None:
        ws = await aio.connect(url, close_timeout=0)
        # Nobody looks at this one.
        await ws.ping()
        pong = await ws.ping()
        await ws.close()
        with pytest.raises(WebSocketConnectionClosedException):
            await pong

    with scripted(lambda peer: None) as url:
        run(main(url))


def test_keepalive_pings_and_measures() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe)
        for _ in range(100):
            await asyncio.sleep(1)
            pipe.move_out(1000)
            await asyncio.sleep(0.5)
            pipe.move_in(1000)
        assert ws.connected
        # Every 20 seconds for 150 seconds.
        assert pipe.pings == 7
        assert ws.latency is not None
        assert 0.5 <= ws.latency <= 2
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_keepalive_gives_up_a_silent_server() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ws = connection(Pipe(loop), ping_interval=10, ping_timeout=4)
        with pytest.raises(WebSocketTimeoutException, match="ping/pong timed out"):
            await ws.recv()
        assert 13.9 < loop.time() < 14.1
        await ws.wait_closed()
        with pytest.raises(WebSocketConnectionClosedException) as caught:
            await ws.recv()
        assert isinstance(caught.value.__cause__, WebSocketTimeoutException)
        assert ws.closed_by is None

    run_virtually(main())


def test_what_arrives_is_a_sign_of_life() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, ping_interval=10, ping_timeout=4)
        for _ in range(50):
            await asyncio.sleep(2)
            pipe.incoming += frame(TEXT, b"busy, too busy for a pong")
            pipe.move_in(1000)
            await ws.recv()
        assert ws.connected
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


def test_a_program_that_does_not_read_is_not_the_servers_fault() -> None:
    async def main() -> None:
        pipe = Pipe(asyncio.get_running_loop())
        ws = connection(pipe, max_queue=1)
        pipe.incoming += frame(TEXT, b"first")
        pipe.move_in(1000)
        assert not pipe.reading
        await asyncio.sleep(1000)
        assert ws.connected
        assert await ws.recv() == "first"
        ws.abort()
        await ws.wait_closed()

    run_virtually(main())


# --- the end


def test_iteration_ends_with_a_good_close_and_raises_otherwise(run: Any) -> None:
    async def main(url: str) -> list[Any]:
        received: list[Any] = []
        async with aio.connect(url) as ws:
            try:
                async for message in ws:
                    received.append(message)
            except WebSocketConnectionClosedException as error:
                received.append((error.code, error.reason))
        return received

    for code, ending in ((1000, []), (1001, []), (None, []), (1011, [(1011, "oops")])):
        payload = b"" if code is None else close_payload(code, b"oops")
        with scripted(say(frame(TEXT, b"one"), frame(CLOSE, payload))) as url:
            assert run(main(url)) == ["one", *ending]


def test_what_is_known_of_the_end(run: Any) -> None:
    async def main(url: str) -> None:
        ws = await aio.connect(url)
        assert ws.connected
        assert (ws.close_code, ws.close_reason, ws.closed_by) == (None, None, None)
        await ws.close(4000, "enough")
        assert not ws.connected
        assert (ws.close_code, ws.closed_by) == (4000, "client")
        await ws.close()
        with pytest.raises(WebSocketConnectionClosedException) as caught:
            await ws.recv()
        assert caught.value.code == 4000
        assert [message async for message in ws] == []

    with Server() as server:
        run(main(server.url))


def test_the_servers_close_is_answered_though_nobody_receives(run: Any) -> None:
    codes: list[int | None] = []

    def handler(peer: ServerConnection) -> None:
        peer.close(4001, "bye")
        codes.append(peer.close_code)

    async def main(url: str) -> None:
        ws = await aio.connect(url)
        await ws.wait_closed()
        assert (ws.close_code, ws.close_reason, ws.closed_by) == (4001, "bye", "server")
        with pytest.raises(WebSocketConnectionClosedException):
            await ws.send("too late")

    with Server(handler) as server:
        run(main(server.url))
    assert codes == [4001]


def test_messages_before_a_close_can_be_answered_but_do_not_put_it_off_for_ever() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pipe = Pipe(loop)
        ws = connection(pipe, ping_interval=None)
        pipe.incoming += frame(TEXT, b"one") + frame(CLOSE, close_payload(1001))
        pipe.move_in(100)
        assert ws.connected
        await ws.send(await ws.recv())
        pipe.move_out(100)
        assert pipe.read == ["one"]
        await ws.wait_closed()
        assert (ws.close_code, loop.time()) == (1001, 3.5)

    run_virtually(main())


def test_closing_wakes_everybody(run: Any) -> None:
    async def main(url: str) -> None:
        ws = await aio.connect(url, close_timeout=0.1)
        waiting = [asyncio.ensure_future(ws.recv()) for _ in range(3)]
        waiting.append(asyncio.ensure_future(ws.wait_closed()))
        await asyncio.sleep(0)
        await asyncio.gather(ws.close(), ws.close(1001))
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results[:3]] == [WebSocketConnectionClosedException] * 3
        assert results[3] is None

    with scripted(lambda peer: None) as url:
        run(main(url))


def test_a_cancelled_close_goes_on(run: Any) -> None:
    async def main(url: str) -> None:
        ws = await aio.connect(url, close_timeout=0.2)
        with pytest.raises((asyncio.TimeoutError, TimeoutError)):
            await asyncio.wait_for(ws.close(), 0.05)
        await ws.wait_closed()
        assert ws.close_code is None

    with scripted(lambda peer: None) as url:
        run(main(url))


def test_an_error_is_raised_once_and_then_the_cause(run: Any) -> None:
    async def main(url: str) -> None:
        async with aio.connect(url) as ws:
            with pytest.raises(WebSocketProtocolException):
                await ws.recv()
            with pytest.raises(WebSocketConnectionClosedException) as caught:
                await ws.recv()
            assert isinstance(caught.value.__cause__, WebSocketProtocolException)
            assert ws.closed_by == "client"

    with scripted(say(frame(3, b""))) as url:
        run(main(url))


def test_sending_into_a_lost_connection_comes_to_an_end(run: Any) -> None:
    async def main(url: str) -> None:
        ws = await aio.connect(url)

        async def send_for_ever() -> None:
            while True:
                await ws.send("x" * 10_000)

        with pytest.raises(WebSocketConnectionClosedException):
            await send_for_ever()
        await ws.wait_closed()

    with serve(BadServer(lambda peer: (peer.accept(), peer.reset()))) as server:
        run(main(f"ws://127.0.0.1:{server.port}/"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup is new in Python 3.11")
def test_in_a_task_group(run: Any) -> None:
    async def main(url: str) -> None:
        received: list[Any] = []
        async with aio.connect(url) as ws, asyncio.TaskGroup() as group:

            async def receive() -> None:
                received.extend([await ws.recv() for _ in range(10)])

            group.create_task(receive())
            for number in range(10):
                group.create_task(ws.send(str(number)))
        assert sorted(received) == [str(number) for number in range(10)]

    with Server() as server:
        run(main(server.url))


def test_what_was_agreed_on(run: Any) -> None:
    async def main(url: str, port: int) -> None:
        async with aio.connect(url + "path?q=1", subprotocols=["a", "b"]) as ws:
            assert ws.request.target == "/path?q=1"
            assert ws.request.headers["host"] == f"127.0.0.1:{port}"
            assert ws.response.status == ws.status == 101
            assert ws.headers["upgrade"] == "websocket"
            assert ws.subprotocol == "b"
            assert ws.remote_address == ("127.0.0.1", port)
            assert ws.local_address[0] == "127.0.0.1"

    with Server(subprotocols=["b"]) as server:
        run(main(server.url, server.port))
