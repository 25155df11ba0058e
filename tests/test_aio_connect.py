"""The ways into the asyncio face: options, dialling, the opening handshake, the listener."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from badservers import CLOSE, TEXT, Peer, close_payload
from conftest import DEADLINE, Certificates
from loopback import serve, unused_port
from support.connect_proxy import connect_proxy
from wire import frame, parse

import websocket
from websocket import (
    Backoff,
    WebSocketAddressException,
    WebSocketArgumentException,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketProtocolException,
    WebSocketProxyException,
    WebSocketTimeoutException,
    aio,
)
from websocket._socket import Deadline
from websocket.aio._timeout import before
from websocket.testing import Refusal, Server, ServerConnection

pytestmark = pytest.mark.usefixtures("no_leaks")


def run(main: Any) -> Any:
    return asyncio.run(main, debug=True)


async def greet(url: str, **options: Any) -> str | bytes:
    async with aio.connect(url, **options) as ws:
        await ws.send("hello")
        return await ws.recv()


# --- importing


def test_a_program_without_asyncio_does_not_pay_for_it() -> None:
    script = (
        "import sys, websocket\n"
        "assert 'asyncio' not in sys.modules and 'websocket.aio' not in sys.modules\n"
        "assert websocket.aconnect is websocket.aio.connect\n"
        "assert 'asyncio' in sys.modules\n"
        "try: websocket.nothing\n"
        "except AttributeError as error: print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout == "module 'websocket' has no attribute 'nothing'\n"


# --- options


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"nonsense": 1}, TypeError, "'nonsense'"),
        ({"timeout": 1, "open_timeout": 1}, TypeError, "another name for timeout"),
        ({"timeout": -1}, WebSocketArgumentException, "timeout"),
        ({"ping_interval": -1}, WebSocketArgumentException, "ping_interval"),
        ({"ping_timeout": 0}, WebSocketArgumentException, "ping_timeout"),
        ({"close_timeout": "x"}, WebSocketArgumentException, "close_timeout"),
        ({"max_queue": 0}, WebSocketArgumentException, "max_queue"),
        ({"max_queue_size": -5}, WebSocketArgumentException, "max_queue_size"),
        ({"sockopt": 5}, WebSocketArgumentException, "sockopt"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        aio.connect("ws://localhost/", **options)


def test_names_that_other_libraries_use(certificates: Certificates) -> None:
    seen: list[dict[str, str]] = []

    def handler(peer: ServerConnection) -> None:
        seen.append(dict(peer.request.headers))
        for message in peer:
            peer.send(message)

    with Server(handler, ssl_context=certificates.server) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        options: dict[str, Any] = {
            "ssl": certificates.client,
            "open_timeout": DEADLINE,
            "close_timeout": 1,
            "max_queue": (16, 4),
            "user_agent_header": "tester/1",
        }
        for headers in ([("X-One", "1")], {"X-One": "1"}, ["X-One: 1"], lambda: ["X-One: 1"]):
            assert run(greet(url, additional_headers=headers, **options)) == "hello"
        assert run(greet(server.url, server_hostname="localhost", **options)) == "hello"
    assert [headers.get("x-one") for headers in seen] == ["1"] * 4 + [None]
    assert {headers["user-agent"] for headers in seen} == {"tester/1"}


def test_the_default_timeout_counts(default_timeout: None) -> None:
    websocket.setdefaulttimeout(0.2)
    silent = serve(lambda sock: sock.recv(4096) and sock.recv(4096))
    expected = pytest.raises(WebSocketTimeoutException, match=r"0\.2 seconds")
    with silent as server, expected:
        run(greet(f"ws://127.0.0.1:{server.port}/"))


def test_a_timer_that_runs_before_the_clock_is_there() -> None:
    async def main() -> None:
        with pytest.raises(WebSocketTimeoutException, match=r"0\.01 seconds"):
            async with before(Deadline(0.01, clock=lambda: 0.0)):
                await asyncio.sleep(DEADLINE)
        with pytest.raises(TimeoutError, match="a program's own"):
            async with before(Deadline(DEADLINE)):
                raise TimeoutError("a program's own")

    run(main())


# --- dialling


def test_nobody_listens() -> None:
    with pytest.raises(ConnectionRefusedError):
        run(greet(f"ws://127.0.0.1:{unused_port()}/"))


def test_a_name_without_an_address() -> None:
    def nothing(host: str, port: int) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(WebSocketAddressException, match="no such name"):
        run(greet("ws://nowhere.example/", resolver=nothing))


@pytest.mark.parametrize("dead", ["silent", "refused"])
def test_an_address_that_leads_nowhere_costs_a_quarter_of_a_second(dead: str) -> None:
    def addresses(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.2", "127.0.0.1"]

    async def main(port: int) -> float:
        loop = asyncio.get_running_loop()
        connect = loop.sock_connect

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            if address[0] == "127.0.0.1":
                await connect(sock, address)
            elif dead == "silent":
                await asyncio.sleep(DEADLINE)
            else:
                raise ConnectionRefusedError("refused")

        loop.sock_connect = sock_connect  # type: ignore[method-assign]
        before = time.monotonic()
        assert await greet(f"ws://example.com:{port}/", resolver=addresses) == "hello"
        assert len(asyncio.all_tasks()) == 1
        return time.monotonic() - before

    with Server() as server:
        elapsed = run(main(server.port))
    assert elapsed >= (0.5 if dead == "silent" else 0)
    assert elapsed < 5


def test_a_cancelled_connect_leaves_nothing() -> None:
    async def main(port: int) -> None:
        for seconds in (0, 0.001, 0.01, 0.1):
            with pytest.raises((asyncio.TimeoutError, TimeoutError)):
                await asyncio.wait_for(greet(f"ws://127.0.0.1:{port}/"), seconds)
        assert len(asyncio.all_tasks()) == 1

    with serve(lambda sock: sock.recv(4096) and sock.recv(4096)) as server:
        run(main(server.port))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, True), ({"sockopt": [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)]}, False)],
)
def test_small_frames_do_not_wait_for_one_another(options: dict[str, Any], expected: bool) -> None:
    """Whoever has made the socket; unless the program wants it otherwise."""

    async def main() -> None:
        def make(*_: Any) -> socket.socket:
            return socket.create_connection(("127.0.0.1", server.port))

        for source in ({}, {"socket": make()}, {"socket_factory": make}):
            # What a factory has made is as the program wants it.
            wanted = expected or "socket_factory" in source
            async with aio.connect(server.url, **source, **options) as ws:
                sock = ws.get_extra_info("socket")
                assert bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)) is wanted

    with Server() as server:
        run(main())


def test_a_socket_of_the_program() -> None:
    async def main(port: int, url: str) -> None:
        assert await greet(url, socket=socket.create_connection(("127.0.0.1", port))) == "hello"
        assert await greet(url, sock=socket.create_connection(("127.0.0.1", port))) == "hello"
        with pytest.raises(WebSocketArgumentException):
            await greet(url, socket=object())

    with Server() as server:
        run(main(server.port, server.url))


def test_tls_that_is_refused(certificates: Certificates) -> None:
    with Server(ssl_context=certificates.server) as server:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            run(greet(server.url))
        assert "sslopt" in str(caught.value)


def test_a_pinned_certificate(certificates: Certificates) -> None:
    sslopt = {"ca_certs": certificates.ca_file, "fingerprint": "00" * 32}
    with (
        Server(ssl_context=certificates.server) as server,
        pytest.raises(ssl.SSLCertVerificationError, match="another fingerprint"),
    ):
        run(greet(server.url, sslopt=sslopt))


def whether_resumed(url: str, **options: Any) -> bool:
    async def main() -> bool:
        async with aio.connect(url, **options) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            resumed: bool = ws.get_extra_info("ssl_object").session_reused
            return resumed

    result: bool = run(main())
    return result


def test_a_session_is_resumed_with_a_context_of_the_programs(certificates: Certificates) -> None:
    context = certificates.client
    with Server(ssl_context=certificates.server) as server:
        assert [whether_resumed(server.url, ssl=context) for _ in range(3)] == [False, True, True]
        # What is checked has changed.
        context.check_hostname = False
        assert whether_resumed(server.url, ssl=context) is False


def test_a_context_that_judges_by_itself_sees_each_handshake_whole(
    certificates: Certificates,
) -> None:
    class Own(ssl.SSLContext):
        pass

    context = Own(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca_file)
    with Server(ssl_context=certificates.server) as server:
        assert [whether_resumed(server.url, ssl=context) for _ in range(2)] == [False, False]


@pytest.mark.parametrize(
    "kind",
    [
        "http",
        pytest.param(
            "https",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 11), reason="asyncio has no TLS inside of TLS"
            ),
        ),
    ],
)
def test_a_session_is_resumed_through_a_proxy(kind: str, certificates: Certificates) -> None:
    options: dict[str, Any] = {
        "ssl": certificates.client,
        "proxy_sslopt": {"ca_certs": certificates.ca_file},
    }
    with (
        Server(ssl_context=certificates.server) as server,
        connect_proxy(tls=certificates.server if kind == "https" else None) as proxy,
    ):
        options["proxy"] = f"{kind}://localhost:{proxy.port}"
        assert [whether_resumed(server.url, **options) for _ in range(2)] == [False, True]


def test_a_session_that_the_server_does_not_know(certificates: Certificates) -> None:
    context = certificates.client
    with Server(ssl_context=certificates.server) as server:
        whether_resumed(server.url, ssl=context)
    another = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    another.load_cert_chain(certificates.server_file)
    with Server(ssl_context=another) as other:
        assert [whether_resumed(other.url, ssl=context) for _ in range(2)] == [False, True]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets on this platform")
def test_a_unix_socket_by_its_url(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main() -> None:
        with pytest.raises(OSError, match="No such file"):
            await greet(f"ws+unix://{path}:/chat")

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        heads: list[bytes] = []
        server = await asyncio.start_unix_server(relay, path)
        with pytest.raises(WebSocketBadStatusException, match="403"):
            await greet(f"ws+unix://{path}:/chat")
        server.close()
        assert heads[0].startswith(b"GET /chat HTTP/1.1")

    run(main())


def test_a_socket_factory() -> None:
    def factory(address: tuple[str, int], timeout: float | None) -> socket.socket:
        assert address == ("nowhere.example", 80)
        return socket.create_connection(("127.0.0.1", port))

    with Server() as server:
        port = server.port
        assert run(greet("ws://nowhere.example/", socket_factory=factory)) == "hello"
        with pytest.raises(WebSocketArgumentException, match="None"):
            run(greet("ws://nowhere.example/", socket_factory=lambda address, timeout: None))


def test_a_socket_that_can_not_be_used_is_closed(certificates: Certificates) -> None:
    def factory(address: tuple[str, int], timeout: float | None) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port))
        made.append(certificates.client.wrap_socket(sock, server_hostname="localhost"))
        return made[0]

    made: list[socket.socket] = []
    with Server(ssl_context=certificates.server) as server:
        port = server.port
        with pytest.raises(WebSocketArgumentException, match="without TLS"):
            run(greet("ws://nowhere.example/", socket_factory=factory))
    assert made[0].fileno() == -1


@pytest.mark.parametrize("how", ["cancelled", "timeout", "too late"])
def test_a_socket_that_comes_when_nobody_wants_it_any_more(how: str) -> None:
    called, given_up = threading.Event(), threading.Event()
    made: list[socket.socket] = []

    def factory(address: tuple[str, int], timeout: float | None) -> socket.socket:
        assert timeout is None if how == "cancelled" else timeout is not None and timeout <= 0.2
        called.set()
        if how != "too late":
            assert given_up.wait(DEADLINE)
        made.append(socket.create_connection(("127.0.0.1", server.port)))
        return made[0]

    async def main() -> None:
        limit = {} if how == "cancelled" else {"timeout": 0.2}
        connecting = asyncio.ensure_future(
            greet("ws://nowhere.example/", socket_factory=factory, **limit)
        )
        if how == "cancelled":
            while not called.is_set():
                await asyncio.sleep(0.001)
            connecting.cancel()
        elif how == "too late":
            # It is made, but the loop learns of it together with the end of the time.
            await asyncio.sleep(0)
            deadline = time.monotonic() + DEADLINE
            while not made and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.3)
        with pytest.raises((asyncio.CancelledError, WebSocketTimeoutException)):
            await connecting
        given_up.set()

    with serve(lambda sock: sock.recv(4096)) as server:
        # Its end waits for the thread.
        run(main())
    assert made[0].fileno() == -1


@pytest.mark.parametrize("secure", [False, True])
def test_through_a_proxy(secure: bool, certificates: Certificates) -> None:
    context = certificates.server if secure else None
    options: dict[str, Any] = {
        "http_proxy_host": "127.0.0.1",
        "sslopt": {"ca_certs": certificates.ca_file},
    }
    with Server(ssl_context=context) as server, connect_proxy(("user", "secret")) as proxy:
        options["http_proxy_port"] = proxy.port
        auth = ("user", "secret")
        assert run(greet(server.url, http_proxy_auth=auth, **options)) == "hello"
        with pytest.raises(WebSocketProxyException, match="407"):
            run(greet(server.url, **options))
    assert len(proxy.requests) == 2


def test_a_proxy_that_says_nothing() -> None:
    with serve(lambda sock: sock.recv(4096) and sock.recv(4096)) as proxy:
        options = {"http_proxy_host": "127.0.0.1", "http_proxy_port": proxy.port}
        with pytest.raises(WebSocketTimeoutException, match=r"0\.2 seconds"):
            run(greet("ws://127.0.0.1:9/", http_proxy_timeout=0.2, **options))
        with pytest.raises(WebSocketTimeoutException, match=r"0\.3 seconds"):
            run(greet("ws://127.0.0.1:9/", timeout=0.3, **options))


# --- the opening handshake


def test_redirects_and_cookies() -> None:
    def process(request: Any) -> Refusal | None:
        if request.target == "/":
            location = [("Location", "/there"), ("Set-Cookie", "a=1; Path=/")]
            return Refusal(302, headers=location)
        if request.target == "/there" and request.headers.get("cookie") == "a=1":
            return None
        return Refusal(404)

    jar = websocket._cookiejar.SimpleCookieJar()
    with Server(process_request=process) as server:
        assert run(greet(server.url, cookie_jar=jar)) == "hello"
        with pytest.raises(WebSocketBadStatusException, match="redirect_limit"):
            run(greet(server.url, cookie_jar=jar, redirect_limit=0))


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_the_trace() -> None:
    text = "x" * 100_000
    handler = Lines()
    websocket.enableTrace(True, handler=handler, level="DEBUG")
    try:
        with Server() as server:

            async def main() -> None:
                async with aio.connect(server.url) as ws:
                    await ws.send(text)
                    assert await ws.recv() == text
                    await ws.send(["a", "b"])
                    assert await ws.recv() == "ab"

            run(main())
    finally:
        websocket.enableTrace(False)
    traced = handler.lines
    assert "--- request header ---" in traced
    assert "--- response header ---" in traced
    assert f"recv: {frame(TEXT, text.encode())!r}" in traced
    assert sum(line.startswith("send: ") for line in traced) == 1 + 3 + 1
    assert f"recv: {frame(CLOSE, close_payload(1000))!r}" in traced


def test_mask_keys_of_the_program() -> None:
    received = bytearray()

    def handler(sock: Any) -> None:
        peer = Peer(sock)
        peer.accept()
        peer.finish()
        received.extend(peer.received)

    async def main(url: str) -> None:
        async with aio.connect(url, get_mask_key=lambda size: b"KEY!") as ws:
            await ws.send("hello")

    with serve(handler) as server:
        run(main(f"ws://127.0.0.1:{server.port}/"))
    assert [(f.key, f.payload) for f in parse(bytes(received))] == [
        (b"KEY!", b"hello"),
        (b"KEY!", close_payload(1000)),
    ]


# --- the listener


class Recorder(aio.Listener):
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.ended = asyncio.get_running_loop().create_future()

    def on_open(self) -> None:
        self.calls.append("open")

    def on_message(self, message: str | bytes) -> None:
        self.calls.append(message)
        if message == "raise":
            raise ValueError("a mistake in on_message")
        if message == "close":
            self.send_close(4000, "done")

    def on_close(self, error: Exception | None) -> None:
        self.calls.append(error)
        self.ended.set_result(None)


async def record(url: str, *messages: str | bytes, **options: Any) -> Recorder:
    listener = await aio.connect_listener(Recorder(), url, **options)
    for message in messages:
        listener.send(message)
    await listener.ended
    assert len(asyncio.all_tasks()) == 1
    return listener


def test_a_listener_is_called_in_order() -> None:
    with Server() as server:
        listener = run(record(server.url, "one", b"two", "close"))
    assert listener.calls == ["open", "one", b"two", "close", None]
    assert (listener.close_code, listener.closed_by) == (4000, "client")
    assert (listener.stats.messages_sent, listener.stats.messages_received) == (3, 3)


def test_a_listener_may_send_as_soon_as_it_is_open() -> None:
    class Greeter(Recorder):
        def on_open(self) -> None:
            super().on_open()
            self.send("close")

    async def main(url: str) -> list[Any]:
        listener = await aio.connect_listener(Greeter(), url)
        await listener.ended
        return listener.calls

    with Server() as server:
        assert run(main(server.url)) == ["open", "close", None]


def test_a_listener_that_raises_goes_on() -> None:
    complaints: list[Any] = []

    async def main(url: str) -> Recorder:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: complaints.append(context))
        return await record(url, "raise", "close")

    with Server() as server:
        listener = run(main(server.url))
    assert listener.calls == ["open", "raise", "close", None]
    assert [str(context["exception"]) for context in complaints] == ["a mistake in on_message"]


@pytest.mark.parametrize(
    ("frames", "calls"),
    [
        ([frame(TEXT, b"a"), frame(CLOSE, close_payload(1001))], ["open", "a", None]),
        ([frame(TEXT, b"a", fin=False), frame(0, b"b"), frame(CLOSE)], ["open", "ab", None]),
        ([frame(TEXT, b"a")], ["open", "a", WebSocketConnectionClosedException]),
        ([frame(TEXT, b"a"), frame(3)], ["open", "a", WebSocketProtocolException]),
    ],
)
def test_how_a_listener_hears_of_the_end(frames: list[bytes], calls: list[Any]) -> None:
    def handler(sock: Any) -> None:
        peer = Peer(sock)
        peer.accept(then=b"".join(frames))
        peer.end_sending()
        peer.wait_for_end()

    with serve(handler) as server:
        listener = run(record(f"ws://127.0.0.1:{server.port}/"))
    assert [type(c) if isinstance(c, Exception) else c for c in listener.calls] == calls


def test_a_listener_and_a_full_transport() -> None:
    class Sender(Recorder):
        def on_pause(self) -> None:
            self.calls.append("pause")

        def on_resume(self) -> None:
            self.calls.append("resume")

    async def main(url: str) -> None:
        listener = await aio.connect_listener(Sender(), url, write_limit=10_000)
        assert listener.calls == ["open"]
        while "pause" not in listener.calls:
            listener.send(b"x" * 1_000_000)
        await listener.drain()
        assert "resume" in listener.calls
        listener.pause_reading()
        listener.resume_reading()
        await listener.close()
        assert listener.calls[-1] is None

    def handler(peer: ServerConnection) -> None:
        for _ in peer:
            pass

    with Server(handler) as server:
        run(main(server.url))


def test_a_listener_is_good_for_one_connection() -> None:
    async def main(url: str) -> None:
        listener = await record(url, "close")
        with pytest.raises(WebSocketArgumentException, match="one connection"):
            await aio.connect_listener(listener, url)

    with Server() as server:
        run(main(server.url))


# --- one connection after the other


AT_ONCE = Backoff(0, jitter=0, attempts=3)


def dropping(counts: list[int]) -> Any:
    """A server that says how many connections there were, and then drops the connection."""

    def handler(peer: ServerConnection) -> None:
        counts.append(len(counts) + 1)
        peer.send(str(counts[-1]))
        peer.abort()

    return handler


async def drain(ws: aio.Connection) -> None:
    """Receive until the connection ends, however it does."""
    with contextlib.suppress(WebSocketConnectionClosedException):
        while True:
            await ws.recv()


def test_a_lost_connection_is_followed_by_a_new_one() -> None:
    async def main(url: str) -> list[str | bytes]:
        received: list[str | bytes] = []
        tokens = iter(("a", "b", "c", "d"))
        async for ws in aio.connect(
            url, reconnect=AT_ONCE, header=lambda: [f"X-Token: {next(tokens)}"]
        ):
            try:
                async for message in ws:
                    received.append(message)
            except WebSocketConnectionClosedException:
                pass
            if len(received) == 3:
                break
        return received

    counts: list[int] = []
    with Server(dropping(counts)) as server:
        assert run(main(server.url)) == ["1", "2", "3"]


def test_the_loop_raises_when_the_policy_gives_up() -> None:
    counts: list[int] = []

    async def main(url: str) -> None:
        async for ws in aio.connect(url, reconnect=AT_ONCE):
            await drain(ws)

    with Server(dropping(counts)) as server:
        with pytest.raises(WebSocketConnectionClosedException):
            run(main(server.url))
        assert len(counts) == 4


@pytest.mark.parametrize(("code", "opened"), [(1000, 1), (1001, 1), (1012, 4)])
def test_a_close_for_good_ends_the_loop(code: int, opened: int) -> None:
    async def main(url: str) -> int:
        count = 0
        async for ws in aio.connect(url, reconnect=AT_ONCE):
            count += 1
            await drain(ws)
        return count

    with Server(lambda peer: peer.close(code)) as server:
        assert run(main(server.url)) == opened


def test_a_single_connection() -> None:
    async def main(url: str) -> int:
        count = 0
        async for ws in aio.connect(url, reconnect=False):
            count += 1
            await drain(ws)
        return count

    with Server(dropping([])) as server:
        assert run(main(server.url)) == 1


@pytest.mark.parametrize("policy", [AT_ONCE, None, False])
def test_a_first_connection_that_fails_is_not_retried(policy: Any) -> None:
    async def main() -> None:
        async for _ in aio.connect(f"ws://127.0.0.1:{unused_port()}/", reconnect=policy):
            pytest.fail("there is nobody")

    with pytest.raises(ConnectionRefusedError):
        run(main())


def test_a_first_connection_may_be_retried() -> None:
    """The server refuses twice; the third time it lets the client in."""
    asked: list[int] = []

    def refuse(request: Any) -> Refusal | None:
        asked.append(1)
        return Refusal(503, "Not yet") if len(asked) < 3 else None

    async def main(url: str) -> str | bytes:
        policy = Backoff(0, jitter=0, first=True)
        async for ws in aio.connect(url, reconnect=policy):
            return await ws.recv()
        raise AssertionError

    with Server(lambda peer: peer.send("in"), process_request=refuse) as server:
        assert run(main(server.url)) == "in"
    assert len(asked) == 3


def test_a_refusal_for_good_ends_the_loop() -> None:
    async def main(url: str) -> None:
        async for _ in aio.connect(url, reconnect=Backoff(0, first=True)):
            pytest.fail("it was refused")

    with (
        Server(process_request=lambda request: Refusal(403, "Never")) as server,
        pytest.raises(WebSocketBadStatusException, match="403"),
    ):
        run(main(server.url))


def test_what_the_body_leaves_open_is_closed() -> None:
    async def main(url: str) -> list[int | None]:
        codes: list[int | None] = []
        seen = []
        async for ws in aio.connect(url, reconnect=AT_ONCE):
            seen.append(ws)
            if len(seen) == 3:
                break
        await ws.close()
        codes.extend(one.close_code for one in seen)
        assert not any(one.connected for one in seen)
        return codes

    with Server() as server:
        assert run(main(server.url)) == [1000, 1000, 1000]


def test_a_wait_can_be_cancelled() -> None:
    async def main(url: str) -> None:
        async for ws in aio.connect(url, reconnect=Backoff(3600, 3600, jitter=0)):
            await drain(ws)

    async def limited(url: str) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(main(url), 0.5)

    with Server(dropping([])) as server:
        run(limited(server.url))
