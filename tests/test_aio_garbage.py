"""The same as ``test_garbage`` for the asyncio face.

What asyncio's own transports leave, as with TLS, is not counted: they hold themselves. Nothing of
ours may hang on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from badservers import Peer
from conftest import DEADLINE, Certificates
from loopback import serve, unused_port, wait_for_end
from support.loops import MakeLoop, loop_makers, run_on
from test_garbage import QUICK, nothing_to_collect

from websocket import (
    Backoff,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketProtocolException,
    WebSocketTimeoutException,
    aio,
)
from websocket.testing import FaultyProxy, Refusal, Server, calm, cut

# Python 3.10 forgets a transport of TLS when it is cancelled while the handshake has just ended.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed transport <asyncio.sslproto")

Use = Callable[..., Awaitable[None]]


@pytest.fixture(params=loop_makers().values(), ids=loop_makers())
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


def check(make: MakeLoop, use: Use, url: str, **options: Any) -> None:
    def once() -> None:
        run_on(make, _settled(use, url, options), DEADLINE, debug=False)

    once()  # what is imported and cached once
    with nothing_to_collect():
        once()


async def _settled(use: Use, url: str, options: dict[str, Any]) -> None:
    before = len(asyncio.all_tasks())
    await use(url, **options)
    # The loop closes generators that were left early in tasks of its own, and what was cut off
    # ends in its next turns.
    for _ in range(20):
        await asyncio.sleep(0)
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.001)


async def closed(url: str, **options: Any) -> None:
    async with aio.connect(url, **options) as ws:
        await ws.send("a")
        assert await ws.recv() == "a"
        assert await (await ws.ping()) >= 0
        await ws.send(["b", "c"])
        assert [piece async for piece in ws.recv_stream()]


async def aborted(url: str, **options: Any) -> None:
    ws = await aio.connect(url, **options)
    ws.abort()
    with pytest.raises(WebSocketConnectionClosedException):
        await ws.recv()
    with pytest.raises(WebSocketConnectionClosedException):
        await ws.recv()
    with pytest.raises(WebSocketConnectionClosedException):
        await ws.send("a")


async def timed_out(url: str, **options: Any) -> None:
    async with aio.connect(url, **options) as ws:
        with pytest.raises(WebSocketTimeoutException):
            await ws.recv(timeout=0.001)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ws.recv(), 0.001)


async def cancelled(url: str, **options: Any) -> None:
    for turns in range(12):
        task = asyncio.ensure_future(closed(url, **options))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Once(aio.Listener):
    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def on_open(self) -> None:
        self.send("a")

    def on_message(self, message: str | bytes) -> None:
        self.send_close()

    def on_close(self, error: Exception | None) -> None:
        self.ended.set()


async def listened(url: str, **options: Any) -> None:
    listener = await aio.connect_listener(Once(), url, **options)
    await listener.ended.wait()


async def iterated(url: str) -> None:
    connections = 0
    async for ws in aio.connect(url, reconnect=QUICK):
        connections += 1
        with contextlib.suppress(WebSocketConnectionClosedException):
            while connections < 3:
                await ws.send("a" * 100)
                await ws.recv()
        if connections == 3:
            return


async def iterated_to_its_end(url: str) -> None:
    connecting = aio.connect(url, reconnect=Backoff(0.001, 0.001, attempts=2))

    async def loop() -> None:
        async for ws in connecting:
            connecting.url = f"ws://127.0.0.1:{unused_port()}/"
            ws.abort()
            with contextlib.suppress(WebSocketConnectionClosedException):
                await ws.recv()

    with pytest.raises(OSError, match="onnect"):
        await loop()


async def nobody_listens(url: str) -> None:
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(OSError, match="onnect"):
            await aio.connect(f"ws://{host}:{unused_port()}/")


async def refused(url: str, **options: Any) -> None:
    with pytest.raises((OSError, WebSocketBadStatusException)):
        await aio.connect(url, **options)


async def too_late(url: str) -> None:
    with pytest.raises(WebSocketTimeoutException):
        await aio.connect(url, timeout=0.05)


async def against_the_protocol(url: str) -> None:
    async with aio.connect(url) as ws:
        with pytest.raises(WebSocketProtocolException):
            await ws.recv()
        with pytest.raises(WebSocketConnectionClosedException) as caught:
            await ws.recv()
        # The same, but for its traceback.
        cause = caught.value.__cause__
        del caught
        assert isinstance(cause, WebSocketProtocolException)
        assert "opcode" in str(cause)
        del cause


USES = [closed, aborted, timed_out, cancelled, listened]


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_a_connection_that_has_ended(make: MakeLoop, use: Use) -> None:
    with Server() as server:
        check(make, use, server.url)


@pytest.mark.parametrize(
    "use", [closed, aborted, cancelled, listened], ids=lambda use: use.__name__
)
def test_over_tls(make: MakeLoop, use: Use, certificates: Certificates) -> None:
    with Server(ssl_context=certificates.server) as server:
        check(make, use, server.url, sslopt={"ca_certs": certificates.ca_file})


@pytest.mark.parametrize(
    "options",
    [{"compression": "deflate"}, {"get_mask_key": lambda count: b"abcd"}],
    ids=["deflate", "mask"],
)
def test_other_roads(make: MakeLoop, options: dict[str, Any]) -> None:
    with Server() as server:
        check(make, closed, server.url, **options)


def test_connections_that_were_lost(make: MakeLoop) -> None:
    faults = [cut(700), cut(700)]
    with Server() as server, FaultyProxy(server.url, *faults, calm, *faults) as proxy:
        check(make, iterated, proxy.url)


def test_attempts_that_failed(make: MakeLoop, certificates: Certificates) -> None:
    check(make, nobody_listens, "")
    with Server() as server:
        check(make, iterated_to_its_end, server.url)
    with Server(process_request=lambda request: Refusal(403)) as server:
        check(make, refused, server.url)
    with Server(ssl_context=certificates.server) as server:
        check(make, refused, server.url)
        # An authority that is known, and a fingerprint that is not.
        sslopt = {"ca_certs": certificates.ca_file, "fingerprint": "00" * 32}
        check(make, refused, server.url, sslopt=sslopt)
    refusing = Server(ssl_context=certificates.server, process_request=lambda _: Refusal(403))
    with refusing as server:
        check(make, refused, server.url, sslopt={"ca_certs": certificates.ca_file})
    with serve(lambda sock: sock.recv(4096) and sock.recv(4096)) as silent:
        check(make, too_late, f"ws://127.0.0.1:{silent.port}/")


def test_a_server_that_breaks_the_protocol(make: MakeLoop) -> None:
    def handler(sock: socket.socket) -> None:
        peer = Peer(sock)
        peer.request()
        sock.sendall(peer.head() + bytes([0x83, 0]))
        wait_for_end(sock)

    with serve(handler) as server:
        check(make, against_the_protocol, f"ws://127.0.0.1:{server.port}/")
