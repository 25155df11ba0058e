from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket._exceptions import WebSocketProxyException, WebSocketURLException
from websocket._protocol.tunnel import ConnectTunnel, basic_credentials, connect_request


def tunnel(*args: Any, **options: Any) -> ConnectTunnel:
    made = ConnectTunnel("example.com", 443, *args, **options)
    assert made.data_to_send().startswith(b"CONNECT example.com:443 HTTP/1.1\r\n")
    assert made.data_to_send() == b""
    return made


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
    reader = tunnel()
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
    assert tunnel().feed(answer) is True


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 .*http_proxy_auth"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden.*ports"),
        (
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 9\r\n\r\nno route.",
            "502 Bad Gateway.*reach",
        ),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "status 101"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "status 302"),
        (b"SSH-2.0-OpenSSH\r\n", "not valid"),
        (b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n", "not valid"),
        (OK + b"early", "sent data behind.*early"),
    ],
)
def test_answers_that_are_refused(answer: bytes, words: str) -> None:
    asked = tunnel()

    def meet() -> None:
        if not asked.feed(answer):
            asked.feed(b"")

    with pytest.raises(WebSocketProxyException, match=words):
        meet()


@pytest.mark.parametrize("size", range(len(OK)))
def test_end_of_stream_before_the_answer_is_complete(size: int) -> None:
    reader = tunnel()
    if size:
        assert reader.feed(OK[:size]) is False
    with pytest.raises(WebSocketProxyException, match="closed the connection"):
        reader.feed(b"")


def test_an_endless_head_is_cut() -> None:
    reader = tunnel()
    reader.feed(b"HTTP/1.1 200 OK\r\n")

    def endless() -> None:
        for _ in range(10000):
            reader.feed(b"X-Filler: " + b"x" * 100 + b"\r\n")

    with pytest.raises(WebSocketProxyException, match="not valid"):
        endless()


def refusal_of(asked: ConnectTunnel) -> WebSocketProxyException:
    refusal = asked.refusal
    assert refusal is not None
    return refusal


def test_a_refusal_is_known_before_its_body_has_come() -> None:
    asked = tunnel(name="squid:3128")
    assert asked.refusal is None
    assert asked.feed(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\nRetry-After: 5\r\n\r\n") is False
    assert refusal_of(asked).resp_body == b""
    assert asked.feed(b"come") is False
    refusal = refusal_of(asked)
    assert (refusal.status_code, refusal.resp_body) == (503, b"come")
    assert refusal.resp_headers is not None
    assert refusal.resp_headers["retry-after"] == "5"
    assert str(refusal).startswith("The proxy squid:3128 refused the tunnel to example.com:443")
    with pytest.raises(WebSocketProxyException) as caught:
        asked.feed(b" back")
    assert caught.value.resp_body == b"come back"


def test_the_body_of_a_refusal_is_bounded() -> None:
    asked = tunnel()
    asked.feed(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    def endless() -> None:
        for _ in range(10000):
            asked.feed(b"x" * 1000)

    with pytest.raises(WebSocketProxyException) as caught:
        endless()
    assert len(caught.value.resp_body or b"") == 65536


CHALLENGE = (
    b"HTTP/1.1 407 Who?\r\n"
    b'Proxy-Authenticate: Basic realm="a, b", Digest realm="r", nonce="n1", qop="auth,auth-int"\r\n'
    b'Proxy-Authenticate: Digest realm="r", nonce="n2", qop="auth", algorithm=SHA-256\r\n'
    b"Content-Length: 100\r\n\r\n"
)


def test_a_digest_is_the_second_answer() -> None:
    asked = tunnel(("user", "hunter2"), random=lambda size: bytes(size))
    assert asked.feed(CHALLENGE) is False
    assert asked.redial
    assert asked.refusal is None
    request = asked.data_to_send().decode()
    assert not asked.redial
    assert "Basic" not in request
    assert "hunter2" not in request
    assert 'Digest username="user", realm="r", nonce="n2", uri="example.com:443"' in request
    assert "algorithm=SHA-256" in request
    assert asked.feed(OK) is True


def test_a_digest_is_tried_once() -> None:
    asked = tunnel(("user", "hunter2"))
    asked.feed(CHALLENGE)
    asked.data_to_send()
    assert asked.feed(CHALLENGE) is False
    assert not asked.redial
    refusal = refusal_of(asked)
    assert refusal.auth_schemes == ("Basic", "Digest")
    assert "asks for Basic, Digest" in str(refusal)
    assert "hunter2" not in str(refusal)


def test_without_credentials_there_is_no_second_attempt() -> None:
    asked = tunnel()
    assert asked.feed(CHALLENGE) is False
    assert not asked.redial
    assert refusal_of(asked).status_code == 407


PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 407 Who\r\n",
    b"HTTP/1.0 503 Busy\r\n",
    b"HTTP/1.1 100 Continue\r\n",
    b'Proxy-Authenticate: Digest realm="r", nonce="n"\r\n',
    b"Proxy-Authenticate: Basic realm=x, NTLM\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"\r\n",
    b"hello",
]


def outcome(stream: bytes, size: int) -> tuple[Any, ...]:
    """What becomes of a tunnel whose answer arrives in pieces of this size, and then ends."""
    asked = ConnectTunnel("example.com", 443, ("user", "hunter2"), random=bytes)
    asked.data_to_send()
    for start in range(0, len(stream) + size, size):
        try:
            if asked.feed(stream[start : start + size]):
                return ("stands",)
        except WebSocketProxyException as error:
            # Whether bytes came too early depends on how far was read.
            if "sent data behind" in str(error):
                return ("stands",)
            leaks = "hunter2" in str(error)
            return leaks, error.status_code, error.resp_body, error.auth_schemes
        if asked.redial:
            return ("again", asked.data_to_send())
    raise AssertionError("the end of the stream ends the tunnel")


@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=8).map(b"".join),
    st.integers(1, 50),
)
def test_how_an_answer_is_cut_makes_no_difference(stream: bytes, size: int) -> None:
    whole = outcome(stream, size)
    assert whole == outcome(stream, 1)
    assert whole[0] is not True, "the password is in the text of an error"
