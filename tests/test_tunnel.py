from __future__ import annotations

import base64

import pytest

from websocket._exceptions import WebSocketProxyException, WebSocketURLException
from websocket._protocol.tunnel import TunnelReader, basic_credentials, connect_request


def credentials_of(request: bytes) -> str:
    lines = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if line)
    scheme, encoded = lines["Proxy-Authorization"].split(" ")
    assert scheme == "Basic"
    return base64.b64decode(encoded).decode()


def test_request() -> None:
    assert connect_request("example.com", 443) == (
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        ("::1", b"[::1]:80"),
        ("fe80::1%eth0", b"[fe80::1]:80"),
        ("bücher.example", b"xn--bcher-kva.example:80"),
        ("127.0.0.1", b"127.0.0.1:80"),
    ],
)
def test_request_for_kinds_of_hosts(host: str, authority: bytes) -> None:
    assert connect_request(host, 80).startswith(b"CONNECT " + authority + b" HTTP/1.1\r\n")


@pytest.mark.parametrize("host", ["a\r\nX: y", "a b", "a/b", "a@b", ""])
def test_request_refuses_injection_by_the_host(host: str) -> None:
    with pytest.raises(WebSocketURLException):
        connect_request(host, 80)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (("user", "pass"), "user:pass"),
        (("user", "pa:ss"), "user:pa:ss"),
        (("user", None), "user:"),
        (("user",), "user:"),
        (("", "token"), ":token"),
        (["user", "pass"], "user:pass"),
        (("jürgen", "geheim€"), "jürgen:geheim€"),
    ],
)
def test_credentials(auth: tuple[str, str], expected: str) -> None:
    assert credentials_of(connect_request("example.com", 80, auth)) == expected


@pytest.mark.parametrize("auth", [None, ("", ""), (None, None), ("",)])
def test_no_credentials(auth: tuple[str, str] | None) -> None:
    assert b"Authorization" not in connect_request("example.com", 80, auth)


@pytest.mark.parametrize(
    "auth",
    [
        ("us:er", "hunter2"),
        ("user\r\nX: y", "hunter2"),
        ("user", "hunter2\n"),
        ("user", "hunter2\0"),
        ("user\x85", "hunter2"),
        ("user", "hunter2\ud800"),
        ("a", "hunter2", "c"),
        ("user", 2),
        "user:hunter2",
        b"user:hunter2",
        (),
    ],
)
def test_bad_credentials_are_refused_and_not_repeated(auth: object) -> None:
    with pytest.raises(WebSocketProxyException) as caught:
        basic_credentials(auth)  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


OK = b"HTTP/1.1 200 Connection established\r\nVia: squid\r\n\r\n"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_tunnel_that_stands(step: int) -> None:
    reader = TunnelReader()
    results = [reader.feed(OK[i : i + step]) for i in range(0, len(OK), step)]
    assert results == [False] * (len(results) - 1) + [True]
    assert reader.head is not None
    assert reader.head.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 204 Fine\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_answers_that_are_a_tunnel(answer: bytes) -> None:
    assert TunnelReader().feed(answer) is True


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 .*http_proxy_auth"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden.*ports"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\n", "502 Bad Gateway"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "status 101"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "status 302"),
        (b"SSH-2.0-OpenSSH\r\n", "not valid"),
        (b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", "not valid"),
        (OK + b"early", "sent data behind.*early"),
    ],
)
def test_answers_that_are_refused(answer: bytes, words: str) -> None:
    with pytest.raises(WebSocketProxyException, match=words):
        TunnelReader().feed(answer)


@pytest.mark.parametrize("size", range(len(OK)))
def test_end_of_stream_before_the_answer_is_complete(size: int) -> None:
    reader = TunnelReader()
    if size:
        assert reader.feed(OK[:size]) is False
    with pytest.raises(WebSocketProxyException, match="closed the connection"):
        reader.feed(b"")


def test_an_endless_head_is_cut() -> None:
    reader = TunnelReader()
    reader.feed(b"HTTP/1.1 200 OK\r\n")

    def endless() -> None:
        for _ in range(10000):
            reader.feed(b"X-Filler: " + b"x" * 100 + b"\r\n")

    with pytest.raises(WebSocketProxyException, match="not valid"):
        endless()
