"""Every face of the library behind one interface, so that one suite of tests serves all.

A face opens sessions. ``recv`` of a session returns a message, or a ``Closed`` when the server
closed the connection; it raises what ended the connection otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, NamedTuple, Protocol

import pytest

import websocket
from websocket import ABNF, Stats, WebSocket, WebSocketApp, WebSocketConnectionClosedException, aio

DEADLINE = 10.0


class Closed(NamedTuple):
    """How the connection was closed: the server's code and reason, None where it sent none."""

    code: int | None
    reason: str | None


Message = str | bytes | Closed


class Outcome(NamedTuple):
    """All that a face saw of a server: the messages, then an error or a Close."""

    messages: list[str | bytes]
    error: Exception | None
    closed: Closed | None


class Session(Protocol):
    def send(self, message: str | bytes) -> None: ...
    def recv(self) -> Message: ...
    def ping(self, payload: str) -> bytes:
        """Send a ping and wait for its pong; what that carried is returned."""
        ...

    def close(self, code: int | None = 1000, reason: str = "") -> Closed: ...
    @property
    def stats(self) -> Stats: ...
    @property
    def subprotocol(self) -> str | None: ...
    @property
    def status(self) -> int | None: ...
    @property
    def headers(self) -> dict[str, str] | None: ...


class Face(Protocol):
    name: str

    def open(self, url: str, **options: Any) -> contextlib.AbstractContextManager[Session]: ...
    def run(self, url: str, timeout: float | None = None, **options: Any) -> Outcome:
        """Connect and receive until the end, whatever that is."""
        ...


class BlockingSession:
    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws

    def send(self, message: str | bytes) -> None:
        self.ws.send(message, ABNF.OPCODE_TEXT if isinstance(message, str) else ABNF.OPCODE_BINARY)

    def recv(self) -> Message:
        message = self.ws.recv(timeout=DEADLINE)
        if not message and self.ws.close_code is not None:
            return self._closed()
        return message

    def _closed(self) -> Closed:
        code = self.ws.close_code
        if code in (None, websocket.STATUS_STATUS_NOT_AVAILABLE):
            return Closed(None, None)
        return Closed(code, self.ws.close_reason)

    def ping(self, payload: str) -> bytes:
        waiter = self.ws.ping(payload)
        assert waiter.wait(DEADLINE) >= 0
        return waiter.payload

    def close(self, code: int | None = 1000, reason: str = "") -> Closed:
        self.ws.close(code, reason)
        return self._closed()

    @property
    def stats(self) -> Stats:
        return self.ws.stats

    @property
    def subprotocol(self) -> str | None:
        subprotocol: str | None = self.ws.subprotocol
        return subprotocol

    @property
    def status(self) -> int | None:
        status: int | None = self.ws.status
        return status

    @property
    def headers(self) -> dict[str, str] | None:
        headers: dict[str, str] | None = self.ws.headers
        return headers


class BlockingFace:
    name = "blocking"

    @contextlib.contextmanager
    def open(self, url: str, **options: Any) -> Iterator[Session]:
        options.setdefault("timeout", DEADLINE)
        ws = websocket.create_connection(url, **options)
        try:
            yield BlockingSession(ws)
        finally:
            ws.close(timeout=DEADLINE)

    def run(self, url: str, timeout: float | None = None, **options: Any) -> Outcome:
        messages: list[str | bytes] = []
        try:
            with self.open(url, timeout=timeout, **options) as session:
                while not isinstance(message := session.recv(), Closed):
                    messages.append(message)
        except Exception as error:
            return Outcome(messages, error, None)
        return Outcome(messages, None, message)


class CallbackSession:
    """An app that records each call of a callback; ``run`` may go on in another thread."""

    OWN = ("header", "cookie", "subprotocols", "get_mask_key", "socket")

    def __init__(self, url: str, **options: Any) -> None:
        own = {name: options.pop(name) for name in self.OWN if name in options}
        # A session is one connection here, as it is on the other faces.
        self._options = {"reconnect": 0, **options}
        self.opened = threading.Event()
        self.ended = threading.Event()
        self.errors: list[Exception] = []
        self.closes: list[Closed] = []
        self.result: bool | None = None
        self.arrived: queue.Queue[str | bytes | None] = queue.Queue()
        self._pongs: queue.Queue[bytes] = queue.Queue()
        self.connection: WebSocket | None = None
        self.app = WebSocketApp(
            url,
            on_open=self._on_open,
            on_message=lambda app, message: self.arrived.put(message),
            on_error=lambda app, error: self.errors.append(error),
            on_close=lambda app, code, reason: self.closes.append(Closed(code, reason)),
            on_pong=lambda app, payload: self._pongs.put(payload),
            **own,
        )

    def _on_open(self, app: WebSocketApp) -> None:
        self.connection = app.sock
        self.opened.set()

    def run(self) -> None:
        try:
            self.result = self.app.run_forever(**self._options)
        finally:
            self.arrived.put(None)
            self.ended.set()
            self.opened.set()

    def verify(self) -> None:
        """What holds for each run, however it ended."""
        assert len(self.closes) == 1, "on_close is called exactly once"
        assert len(self.errors) <= 1
        assert self.result is bool(self.errors)
        assert self.app.sock is None
        assert not self.app.keep_running

    def send(self, message: str | bytes) -> None:
        self.app.send(message, ABNF.OPCODE_TEXT if isinstance(message, str) else ABNF.OPCODE_BINARY)

    def recv(self) -> Message:
        message = self.arrived.get(timeout=DEADLINE)
        if message is not None:
            return message
        if self.errors:
            raise self.errors[0]
        return self.closes[0]

    def ping(self, payload: str) -> bytes:
        self.app.send(payload, ABNF.OPCODE_PING)
        return self._pongs.get(timeout=DEADLINE)

    def close(self, code: int | None = 1000, reason: str = "") -> Closed:
        self.app.close(status=code, reason=reason)
        assert self.ended.wait(DEADLINE)
        return self.closes[0]

    @property
    def stats(self) -> Stats:
        return self.app.stats

    @property
    def _opened(self) -> WebSocket:
        assert self.connection is not None
        return self.connection

    @property
    def subprotocol(self) -> str | None:
        subprotocol: str | None = self._opened.subprotocol
        return subprotocol

    @property
    def status(self) -> int | None:
        status: int | None = self._opened.status
        return status

    @property
    def headers(self) -> dict[str, str] | None:
        headers: dict[str, str] | None = self._opened.headers
        return headers


class CallbackFace:
    name = "callback"

    @contextlib.contextmanager
    def open(self, url: str, **options: Any) -> Iterator[Session]:
        session = CallbackSession(url, **options)
        thread = threading.Thread(target=session.run)
        thread.start()
        try:
            assert session.opened.wait(DEADLINE)
            if session.connection is None:
                raise session.errors[0]
            yield session
        finally:
            session.app.close()
            thread.join(DEADLINE)
            assert not thread.is_alive(), "run_forever does not return"
        session.verify()

    def run(self, url: str, timeout: float | None = None, **options: Any) -> Outcome:
        # An app has no timeout of its own: the default one counts for connecting.
        before = websocket.getdefaulttimeout()
        websocket.setdefaulttimeout(timeout)
        try:
            session = CallbackSession(url, **options)
            session.run()
        finally:
            websocket.setdefaulttimeout(before)
        session.verify()
        messages: list[str | bytes] = []
        while (message := session.arrived.get_nowait()) is not None:
            messages.append(message)
        if session.errors:
            return Outcome(messages, session.errors[0], None)
        return Outcome(messages, None, session.closes[0])


class AsyncioSession:
    """A connection whose loop runs in a thread of its own."""

    def __init__(self, ws: aio.Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.ws = ws
        self._loop = loop

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(DEADLINE + 1)

    def send(self, message: str | bytes) -> None:
        self._run(self.ws.send(message))

    def recv(self) -> Message:
        message: Message = self._run(receive(self.ws, DEADLINE))
        return message

    def ping(self, payload: str) -> bytes:
        async def ping() -> None:
            assert await (await self.ws.ping(payload)) >= 0

        self._run(ping())
        return payload.encode()

    def close(self, code: int | None = 1000, reason: str = "") -> Closed:
        self._run(self.ws.close(code, reason))
        return closed(self.ws)

    @property
    def stats(self) -> Stats:
        async def stats() -> Stats:
            return self.ws.stats

        of_now: Stats = self._run(stats())
        return of_now

    @property
    def subprotocol(self) -> str | None:
        return self.ws.subprotocol

    @property
    def status(self) -> int | None:
        return self.ws.status

    @property
    def headers(self) -> dict[str, str] | None:
        return self.ws.headers


def closed(ws: aio.Connection) -> Closed:
    if ws.close_code in (None, websocket.STATUS_STATUS_NOT_AVAILABLE):
        return Closed(None, None)
    return Closed(ws.close_code, ws.close_reason)


async def receive(ws: aio.Connection, timeout: float | None) -> Message:
    try:
        return await ws.recv(timeout=timeout)
    except WebSocketConnectionClosedException as error:
        if error.code is None:
            raise
        ending = error.code, error.reason
    assert ending == (ws.close_code, ws.close_reason)
    return closed(ws)


class AsyncioFace:
    """Each session and each run has a loop of its own, in debug mode."""

    name = "asyncio"

    @contextlib.contextmanager
    def open(self, url: str, **options: Any) -> Iterator[Session]:
        options.setdefault("timeout", DEADLINE)
        loop = asyncio.new_event_loop()
        loop.set_debug(True)
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def connect() -> aio.Connection:
            return await aio.connect(url, **options)

        try:
            ws = asyncio.run_coroutine_threadsafe(connect(), loop).result(DEADLINE + 1)
            session = AsyncioSession(ws, loop)
            try:
                yield session
            finally:
                session.close()
                assert len(asyncio.all_tasks(loop)) == 0, "a task was left behind"
        finally:
            asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(
                DEADLINE
            )
            loop.call_soon_threadsafe(loop.stop)
            thread.join(DEADLINE)
            loop.close()

    def run(self, url: str, timeout: float | None = None, **options: Any) -> Outcome:
        return asyncio.run(self._run(url, timeout, options), debug=True)

    async def _run(self, url: str, timeout: float | None, options: dict[str, Any]) -> Outcome:
        messages: list[str | bytes] = []
        try:
            async with aio.connect(url, timeout=timeout, **options) as ws:
                while not isinstance(message := await receive(ws, timeout), Closed):
                    messages.append(message)
        except Exception as error:
            assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"
            return Outcome(messages, error, None)
        return Outcome(messages, None, message)


def skip_unless_tls_in_tls(face: Face) -> None:
    """An HTTPS proxy for wss: the asyncio of Python 3.10 can't do it, and the face says so."""
    if face.name == "asyncio" and sys.version_info < (3, 11):
        pytest.skip("asyncio of this Python can't run TLS inside of TLS")


FACES: list[Face] = [BlockingFace(), CallbackFace(), AsyncioFace()]
