"""The opening handshake over blocking sockets."""

from __future__ import annotations

import contextlib
import http.cookiejar
import logging
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
import websockets.sync.server

from websocket import _handshake
from websocket._cookiejar import SimpleCookieJar
from websocket._exceptions import (
    WebSocketArgumentException,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    WebSocketHandshakeException,
    WebSocketTimeoutException,
)
from websocket._handshake import handshake, handshake_response, redirect_options
from websocket._logging import enableTrace
from websocket._protocol.accepting import build_response, check_request
from websocket._protocol.http11 import RequestHead, RequestReader
from websocket._protocol.uri import URL
from websocket._socket import Deadline

URL_TEXT = "ws://www.example.com/chat"
PARTS = (URL_TEXT, "www.example.com", 80, "/chat")


@pytest.fixture(autouse=True)
def empty_jar(monkeypatch):
    jar = SimpleCookieJar()
    monkeypatch.setattr(_handshake, "CookieJar", jar)
    return jar


WRONG_ACCEPT = (
    b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Peer:
    """The server's end of a socket pair: reads the request, then does what ``answer`` says."""

    def __init__(self, answer: Callable[[socket.socket, RequestHead], None]) -> None:
        self.client, self._server = socket.socketpair()
        self.request: RequestHead | None = None
        self._answer = answer
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        reader = RequestReader()
        with self._server, contextlib.suppress(OSError):
            while not reader.done:
                data = self._server.recv(65536)
                if not data:
                    return
                reader.feed(data)
            self.request = reader.head
            assert reader.head is not None
            self._answer(self._server, reader.head)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def accepting(extra: bytes = b"", subprotocol: str | None = None, **fields: str) -> Peer:
    def answer(sock: socket.socket, head: RequestHead) -> None:
        pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
        sock.sendall(build_response(check_request(head), subprotocol, pairs) + extra)

    return Peer(answer)


def answering(*pieces: bytes, hold: bool = False) -> Peer:
    """Sends ``pieces`` one by one; with ``hold``, waits for the client to hang up."""

    def answer(sock: socket.socket, _: RequestHead) -> None:
        for piece in pieces:
            sock.sendall(piece)
        if hold:
            sock.recv(1)

    return Peer(answer)


class TestAgainstAnotherImplementation:
    @pytest.fixture
    def server(self) -> Iterator[int]:
        def handler(connection: websockets.sync.server.ServerConnection) -> None:
            connection.send(str(connection.request.path if connection.request else ""))

        with websockets.sync.server.serve(
            handler, "127.0.0.1", 0, subprotocols=["chat"], compression=None
        ) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            yield server.socket.getsockname()[1]
            server.shutdown()
            thread.join(10)

    def test_accepts_the_request(self, server):
        with socket.create_connection(("127.0.0.1", server), timeout=10) as sock:
            url = f"ws://127.0.0.1:{server}/a?b"
            response = handshake(sock, url, "127.0.0.1", server, "/a?b", subprotocols=["chat"])
            assert response.status == 101
            assert response.subprotocol == "chat"
            assert response.headers["Upgrade"] == "websocket"
            stream = response.rest
            while len(stream) < 6:
                stream += sock.recv(100)
            assert stream[:6] == b"\x81\x04/a?b"


class TestAccepted:
    def test_response(self):
        with accepting(b"\x81\x01a", X_Extra="1") as peer:
            response = handshake(peer.client, *PARTS)
            rest = response.rest
            if not rest:
                rest = peer.client.recv(3)
        assert response.status == 101
        assert response.headers["x-extra"] == "1"
        assert response.subprotocol is None
        assert response.head is not None
        assert rest == b"\x81\x01a"

    def test_the_order_of_earlier_releases(self):
        with accepting() as peer:
            handshake(peer.client, "www.example.com", 443, "/chat", origin=None)
        assert peer.request is not None
        assert peer.request.target == "/chat"
        assert peer.request.headers["host"] == "www.example.com"
        assert peer.request.headers["origin"] == "https://www.example.com"

    def test_options_reach_the_request(self):
        with accepting(subprotocol="b") as peer:
            response = handshake(
                peer.client,
                "wss://user:pass@www.example.com:8443/chat",
                "www.example.com",
                8443,
                "/chat",
                header=lambda: {"X-Made": "late"},
                host="host.example",
                subprotocols=["a", "b"],
                connection="Connection: keep-alive, Upgrade",
                cookie="a=b",
                timeout=5,
                unknown_option="ignored",
            )
        assert response.subprotocol == "b"
        assert peer.request is not None
        headers = peer.request.headers
        assert headers["x-made"] == "late"
        assert headers["host"] == "host.example"
        assert headers["origin"] == "https://www.example.com:8443"
        assert headers["connection"] == "keep-alive, Upgrade"
        assert headers["cookie"] == "a=b"
        assert headers["authorization"] == "Basic dXNlcjpwYXNz"

    def test_subprotocol_offered_by_header(self):
        option = {"Sec-WebSocket-Protocol": "graphql-ws"}
        with accepting(subprotocol="graphql-ws") as peer:
            assert handshake(peer.client, *PARTS, header=option).subprotocol == "graphql-ws"
        with accepting() as peer:
            assert handshake(peer.client, *PARTS, header=option).subprotocol is None

    def test_keys_are_fresh(self):
        keys = set()
        for _ in range(2):
            with accepting() as peer:
                handshake(peer.client, *PARTS)
            assert peer.request is not None
            keys.add(peer.request.headers["sec-websocket-key"])
        assert len(keys) == 2

    def test_an_object_that_looks_like_a_socket(self):
        class Double:
            def __init__(self) -> None:
                self.sent = b""
                self.answer = b""

            def send(self, data: bytes) -> int:
                self.sent += data[:7]
                if self.sent.endswith(b"\r\n\r\n"):
                    reader = RequestReader()
                    reader.feed(self.sent)
                    assert reader.head is not None
                    self.answer = build_response(check_request(reader.head))
                return min(len(data), 7)

            def recv(self, size: int) -> bytes:
                data, self.answer = self.answer[:5], self.answer[5:]
                return data

            def gettimeout(self) -> None:
                return None

            def close(self) -> None: ...

        assert handshake(Double(), *PARTS, deadline=Deadline(5)).status == 101

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_returned(self, status):
        head = b"HTTP/1.1 %d Moved\r\nLocation: /other\r\nContent-Length: 999\r\n\r\nbody" % status
        with answering(head, hold=True) as peer:
            response = handshake(peer.client, *PARTS)
        assert response.status == status
        assert response.head is not None
        target = _handshake.redirect_target(URL.parse(URL_TEXT), response.head)
        assert str(target) == "ws://www.example.com/other"


class TestRefused:
    def test_status_headers_and_body(self):
        with (
            answering(
                b"HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nSet-Cookie: s=secret\r\n"
                b"Content-Length: 4\r\n\r\nno",
                b"pe",
                hold=True,
            ) as peer,
            pytest.raises(WebSocketBadStatusException) as info,
        ):
            handshake(peer.client, *PARTS)
        error = info.value
        assert str(error).startswith("Handshake status 403 Forbidden -+-+- {'x-why': 'because'")
        assert str(error).endswith(" -+-+- b'nope'")
        assert "secret" not in str(error)
        assert error.status_code == 403
        assert error.status_message == "Forbidden"
        assert error.resp_headers["X-Why"] == "because"
        assert error.resp_headers["set-cookie"] == "s=secret"
        assert error.resp_body == b"nope"
        again = pickle.loads(pickle.dumps(error))
        assert again.resp_headers == error.resp_headers
        assert str(again) == str(error)

    def test_chunked_body(self):
        with (
            answering(
                b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
                b"1\r\nc\r\n0\r\n\r\n",
            ) as peer,
            pytest.raises(WebSocketBadStatusException) as info,
        ):
            handshake(peer.client, *PARTS)
        assert info.value.resp_body == b"abc"

    def test_body_until_the_end_of_the_stream(self):
        with (
            answering(b"HTTP/1.0 404 Not Found\r\n\r\nwhole page") as peer,
            pytest.raises(WebSocketBadStatusException) as error,
        ):
            handshake(peer.client, *PARTS)
        assert error.value.resp_body == b"whole page"

    def test_endless_body(self):
        def answer(sock: socket.socket, _: RequestHead) -> None:
            sock.sendall(b"HTTP/1.1 500 Oops\r\n\r\n")
            while True:
                sock.sendall(b"x" * 4096)

        with Peer(answer) as peer, pytest.raises(WebSocketBadStatusException) as info:
            handshake(peer.client, *PARTS)
        assert info.value.resp_body == b"x" * 65536

    @pytest.mark.parametrize("timeout", [0.2, None])
    def test_a_stalling_body_does_not_hide_the_status(self, timeout, monkeypatch):
        monkeypatch.setattr(_handshake, "_BODY_WAIT", 0.3)
        with answering(b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\npart", hold=True) as peer:
            start = time.monotonic()
            with pytest.raises(WebSocketBadStatusException) as info:
                handshake(peer.client, *PARTS, deadline=Deadline(timeout))
            assert time.monotonic() - start < 5
        assert info.value.status_code == 401
        assert info.value.resp_body == b"part"

    @pytest.mark.parametrize(
        "head",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 101 x\r\n\r\n",
            WRONG_ACCEPT,
            b"HTTP/1.1 403 x\r\nBad line\r\n\r\n",
            b"HTTP/1.1 403 x\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 300,
            b"x" * 70000,
        ],
    )
    def test_answers_that_are_no_handshake(self, head):
        with answering(head, hold=True) as peer, pytest.raises(WebSocketHandshakeException):
            handshake(peer.client, *PARTS)

    def test_another_subprotocol(self):
        with (
            accepting(subprotocol="other") as peer,
            pytest.raises(WebSocketHandshakeException, match="other"),
        ):
            handshake(peer.client, *PARTS, subprotocols=["chat"])

    @pytest.mark.parametrize("head", [b"", b"HTTP/1.1 1", b"HTTP/1.1 101 x\r\nA: b\r\n"])
    def test_end_of_stream(self, head):
        with (
            answering(head) as peer,
            pytest.raises(WebSocketConnectionClosedException, match="remote host was lost"),
        ):
            handshake(peer.client, *PARTS)

    @pytest.mark.parametrize(
        "options",
        [
            {"header": ["A: b\r\nEvil: 1"]},
            {"header": lambda: {"A\n": "b"}},
            {"cookie": "a=b\r\nEvil: 1"},
            {"origin": "a\nb"},
            {"host": "a\rb"},
            {"connection": "a\0b"},
            {"subprotocols": ["a\r\nb"]},
        ],
    )
    def test_nothing_is_sent_for_a_bad_option(self, options):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with pytest.raises(WebSocketArgumentException):
                handshake(ours, *PARTS, **options)
            theirs.setblocking(False)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)


class TestTime:
    def test_deadline(self):
        with answering(hold=True) as peer:
            peer.client.settimeout(60)
            with pytest.raises(WebSocketTimeoutException, match=r"timed out after 0\.1 s"):
                handshake(peer.client, *PARTS, deadline=Deadline(0.1))
            assert peer.client.gettimeout() == 60

    def test_drip_fed_bytes_do_not_stretch_it(self):
        stop = threading.Event()

        def answer(sock: socket.socket, _: RequestHead) -> None:
            sock.sendall(b"HTTP/1.1 101 ")
            while not stop.wait(0.01):
                sock.sendall(b"x")

        with Peer(answer) as peer:
            start = time.monotonic()
            with pytest.raises(WebSocketTimeoutException, match="timed out"):
                handshake(peer.client, *PARTS, deadline=Deadline(0.3))
            assert time.monotonic() - start < 5
            stop.set()

    def test_a_stand_in_without_settimeout_keeps_it_between_calls(self):
        class Endless:
            def send(self, data: bytes) -> int:
                return len(data)

            def recv(self, size: int) -> bytes:
                clock.append(1)
                return b"HTTP/1.1 101 x"[len(clock) - 1 : len(clock)]

            def gettimeout(self) -> None:
                return None

        clock: list[int] = []
        deadline = Deadline(3, lambda: float(len(clock)))
        with pytest.raises(WebSocketTimeoutException, match="timed out after 3 s"):
            handshake(Endless(), *PARTS, deadline=deadline)

    def test_without_deadline_the_timeout_of_the_socket_counts(self):
        with answering(hold=True) as peer:
            peer.client.settimeout(0.1)
            with pytest.raises(WebSocketTimeoutException, match="timed out"):
                handshake(peer.client, *PARTS)

    def test_the_timeout_of_the_socket_is_put_back(self):
        with accepting() as peer:
            peer.client.settimeout(7)
            handshake(peer.client, *PARTS, deadline=Deadline(10))
            assert peer.client.gettimeout() == 7


class TestCookies:
    def test_they_come_back_to_the_host_that_set_them(self, empty_jar):
        with accepting(Set_Cookie="a=b; Path=/") as peer:
            handshake(peer.client, *PARTS)
        assert empty_jar.get("www.example.com") == "a=b"
        with accepting() as peer:
            handshake(peer.client, *PARTS, cookie="c=d")
        assert peer.request is not None
        assert peer.request.headers["cookie"] == "a=b; c=d"
        with accepting() as peer:
            handshake(peer.client, "ws://other.example/", "other.example", 80, "/")
        assert peer.request is not None
        assert "cookie" not in peer.request.headers

    def test_the_cookie_of_the_program_wins(self, empty_jar):
        empty_jar.add("session=old; other=1; domain=www.example.com")
        with accepting() as peer:
            handshake(peer.client, *PARTS, cookie="session=new")
        assert peer.request is not None
        assert peer.request.headers["cookie"] == "other=1; session=new"

    @pytest.mark.parametrize("make", [SimpleCookieJar, http.cookiejar.CookieJar])
    def test_a_jar_of_the_program(self, make, empty_jar):
        jar = make()
        with accepting(Set_Cookie="a=b; Path=/") as peer:
            handshake(peer.client, *PARTS, cookie_jar=jar)
        assert empty_jar.get("www.example.com") == ""
        with accepting() as peer:
            handshake(peer.client, *PARTS, cookie_jar=jar)
        assert peer.request is not None
        assert peer.request.headers["cookie"] == "a=b"

    def test_refusals_and_redirects_set_cookies_too(self, empty_jar):
        with answering(b"HTTP/1.1 302 x\r\nSet-Cookie: a=b; Path=/\r\n\r\n") as peer:
            handshake(peer.client, *PARTS)
        with (
            answering(b"HTTP/1.1 403 x\r\nSet-Cookie: c=d; Path=/\r\n\r\n") as peer,
            pytest.raises(WebSocketBadStatusException),
        ):
            handshake(peer.client, *PARTS)
        assert sorted(empty_jar.get("www.example.com").split("; ")) == ["a=b", "c=d"]


class TestTrace:
    def test_blocks_with_secrets_masked(self):
        records: list[str] = []

        class Collect(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                records.append(record.getMessage())

        enableTrace(True, Collect())
        try:
            with accepting(Set_Cookie="a=hidden") as peer:
                handshake(peer.client, *PARTS, cookie="c=hidden", origin="o")
        finally:
            enableTrace(False)
        lines = "\n".join(records).split("\n")
        assert lines[:5] == [
            "--- request header ---",
            "GET /chat HTTP/1.1",
            "Upgrade: websocket",
            "Host: www.example.com",
            "Origin: o",
        ]
        end = lines.index("-----")
        assert lines[end - 2 : end + 3] == [
            "Cookie: ***",
            "",
            "-----",
            "--- response header ---",
            "HTTP/1.1 101 Switching Protocols",
        ]
        assert lines[-1] == "-----"
        assert lines[-2]
        assert "hidden" not in "\n".join(lines)


class TestRedirectOptions:
    OPTIONS: ClassVar = {
        "cookie": "a=b",
        "host": "old.example",
        "origin": "http://o",
        "header": ["Authorization: x", "X-Own: y", "cookie: z", "Proxy-Authorization: p"],
    }
    OLD = URL.parse("wss://old.example/")

    def test_same_origin_keeps_all(self):
        new = URL.parse("wss://old.example:443/other")
        assert redirect_options(self.OPTIONS, self.OLD, new) == self.OPTIONS

    @pytest.mark.parametrize("new", ["wss://new.example/", "wss://old.example:1/"])
    @pytest.mark.parametrize("form", ["list", "dict", "callable"])
    def test_other_origins_get_no_credentials(self, new, form):
        header = self.OPTIONS["header"]
        pairs = dict(line.split(": ") for line in header)
        option = {"list": header, "dict": pairs, "callable": lambda: pairs}[form]
        options = {**self.OPTIONS, "header": option}
        result = redirect_options(options, self.OLD, URL.parse(new))
        left = result.pop("header")
        assert (left() if form == "callable" else left) == ["X-Own: y"]
        assert result == {"origin": "http://o"}
        assert options["cookie"] == "a=b"

    def test_without_header(self):
        new = URL.parse("wss://new.example/")
        assert redirect_options({"timeout": 1}, self.OLD, new) == {"timeout": 1}


class TestLegacyNames:
    def test_constants(self):
        assert _handshake.VERSION == 13
        assert _handshake.SUPPORTED_REDIRECT_STATUSES == (301, 302, 303, 307, 308)
        assert _handshake.SUCCESS_STATUSES == (301, 302, 303, 307, 308, 101)
        assert _handshake._HEADERS_TO_CHECK == {"upgrade": "websocket", "connection": "upgrade"}

    def test_response_object(self):
        response = handshake_response(101, {"a": "b"}, "chat")
        assert (response.status, response.headers, response.subprotocol) == (
            101,
            {"a": "b"},
            "chat",
        )
        assert response.rest == b""
        assert response.head is None

    def test_helpers(self):
        assert len(_handshake._create_sec_websocket_key()) == 24
        assert _handshake._pack_hostname("::1") == "[::1]"

    @pytest.mark.parametrize(
        "arguments",
        [
            ("/r", "wss://h.example/r", "h.example", 443, {}),
            ("/r", "h.example", 443, {}),
            ("/r", "h.example", 443),
        ],
    )
    def test_handshake_headers(self, arguments):
        lines, key = _handshake._get_handshake_headers(*arguments)
        assert lines[:4] == [
            "GET /r HTTP/1.1",
            "Upgrade: websocket",
            "Host: h.example",
            "Origin: https://h.example",
        ]
        assert f"Sec-WebSocket-Key: {key}" in lines
        assert lines[-2:] == ["", ""]

    def test_response_headers_take_not_a_byte_more(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(b"HTTP/1.1 101 Switching\r\nA: b\r\n\r\nrest")
            assert _handshake._get_resp_headers(ours) == (101, {"a": "b"}, "Switching")
            assert ours.recv(100) == b"rest"
            theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            with pytest.raises(WebSocketBadStatusException) as info:
                _handshake._get_resp_headers(ours)
            assert info.value.resp_body == b"hi"
            theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            assert _handshake._get_resp_headers(ours, success_statuses=(200,))[0] == 200

    def test_validate(self, caplog):
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        good = {
            "upgrade": "WebSocket",
            "connection": "Upgrade",
            "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        }
        assert _handshake._validate(good, key, None) == (True, None)
        for name in good:
            changed = {**good, name: "wrong"}
            assert _handshake._validate(changed, key, None) == (False, None)
        chosen = {**good, "sec-websocket-protocol": "sUb1"}
        assert _handshake._validate(chosen, key, ["Sub1", "suB2"]) == (True, "sub1")
        assert _handshake._validate(chosen, key, ["sub2"]) == (False, None)
        assert _handshake._validate(good, key, ["sub2"]) == (False, None)
