"""SOCKS 4, 4a and 5 byte by byte, without a socket."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket._exceptions import WebSocketException, WebSocketProxyException
from websocket._protocol.proxy import tunnel_for
from websocket._protocol.socks import Socks4Tunnel, Socks5Tunnel

OK4 = b"\0\x5a" + bytes(6)
OK5 = b"\5\0\0\1" + bytes(6)
AUTH = ("user", "hunter2")


def exchange(tunnel: Any, *answers: bytes) -> list[bytes]:
    """What the client says, answered one after the other; the last answer opens the tunnel."""
    said = []
    for number, answer in enumerate(answers):
        said.append(tunnel.data_to_send())
        assert tunnel.data_to_send() == b""
        results = []
        for offset in range(len(answer)):
            assert tunnel.read_size > 0
            results.append(tunnel.feed(answer[offset : offset + 1]))
        last = number == len(answers) - 1
        assert results == [False] * (len(answer) - 1) + [last]
    return said


@pytest.mark.parametrize(
    ("host", "auth", "request_bytes"),
    [
        ("192.0.2.1", None, b"\4\1\1\xbb\xc0\0\2\1\0"),
        ("192.0.2.1", ("joe", ""), b"\4\1\1\xbb\xc0\0\2\1joe\0"),
        ("example.com", None, b"\4\1\1\xbb\0\0\0\1\0example.com\0"),
        ("Bücher.example", ("joe",), b"\4\1\1\xbb\0\0\0\1joe\0xn--bcher-kva.example\0"),
    ],
)
def test_socks4(host: str, auth: Any, request_bytes: bytes) -> None:
    assert exchange(Socks4Tunnel(host, 443, auth), OK4) == [request_bytes]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", b"\1\xc0\0\2\1"),
        ("2001:db8::1", b"\4" + bytes.fromhex("20010db8000000000000000000000001")),
        ("fe80::1%eth0", b"\4" + bytes.fromhex("fe800000000000000000000000000001")),
        ("example.com", b"\3\x0bexample.com"),
        ("Bücher.example", b"\3\x15xn--bcher-kva.example"),
    ],
)
def test_socks5(host: str, address: bytes) -> None:
    said = exchange(Socks5Tunnel(host, 443), b"\5\0", OK5)
    assert said == [b"\5\1\0", b"\5\1\0" + address + b"\1\xbb"]


@pytest.mark.parametrize("version", [b"\1", b"\5"])
def test_socks5_with_a_password(version: bytes) -> None:
    said = exchange(Socks5Tunnel("a", 80, AUTH), b"\5\2", version + b"\0", OK5)
    assert said[:2] == [b"\5\2\0\2", b"\1\4user\7hunter2"]


def test_socks5_that_does_not_want_the_password() -> None:
    said = exchange(Socks5Tunnel("a", 80, AUTH), b"\5\0", OK5)
    assert b"hunter2" not in b"".join(said)


@pytest.mark.parametrize(
    "bound", [b"\1" + bytes(4), b"\4" + bytes(16), b"\3\0", b"\3\5proxy", b"\3\xff" + b"x" * 255]
)
def test_socks5_whatever_address_is_bound(bound: bytes) -> None:
    exchange(Socks5Tunnel("a", 80), b"\5\0", b"\5\0\0" + bound + b"\0\0")


REFUSALS = [
    ("socks4", [b"\0\x5b"], "refused the request.*reply 91", 91),
    ("socks4", [b"\0\x5c"], "identd.*reply 92", 92),
    ("socks4", [b"\0\0"], "not known.*reply 0", 0),
    ("socks4", [b"HTTP/1.1 400"], "does not speak SOCKS4.*b'HT'", None),
    ("socks5", [b"\5\xff"], "method 255.*set http_proxy_auth", 255),
    ("socks5", [b"\5\2"], "method 2", 2),
    ("socks5", [b"\5\1"], "method 1", 1),
    ("socks5", [b"\4\0"], "does not speak SOCKS5", None),
    ("socks5", [b"HT"], "does not speak SOCKS5.*b'HT'", None),
    ("socks5", [b"\5\0", b"\5\2"], "rules do not allow.*reply 2", 2),
    ("socks5", [b"\5\0", b"\5\4"], "server is unreachable", 4),
    ("socks5", [b"\5\0", b"\5\5"], "server refused the connection", 5),
    ("socks5", [b"\5\0", b"\5\x63"], "not known.*reply 99", 99),
    ("socks5", [b"\5\0", b"\4\0"], "does not speak", None),
    ("socks5", [b"\5\0", b"\5\0\0\2\0"], "does not speak", None),
    ("socks5", [b"\5\0", OK5 + b"early"], "sent data behind.*early", None),
    ("auth", [b"\5\xff"], "method 255.*correct http_proxy_auth", 255),
    ("auth", [b"\5\2", b"\1\1"], "refused the user name or password", 1),
    ("auth", [b"\5\2", b"\7\0"], "does not speak", None),
]


@pytest.mark.parametrize(("kind", "answers", "words", "code"), REFUSALS)
def test_refusals(kind: str, answers: list[bytes], words: str, code: int | None) -> None:
    auth = AUTH if kind == "auth" else None
    host = "192.0.2.1"
    tunnel = tunnel_for(kind.replace("auth", "socks5"), host, 80, auth, name="proxy.example:1080")
    for answer in answers[:-1]:
        assert tunnel.feed(answer) is False
    with pytest.raises(WebSocketProxyException, match=words) as caught:
        tunnel.feed(answers[-1])
    assert str(caught.value).startswith("The proxy proxy.example:1080 ")
    assert "hunter2" not in str(caught.value)
    assert caught.value.status_code == code


@pytest.mark.parametrize("kind", ["socks4", "socks5"])
def test_the_end_of_the_stream(kind: str) -> None:
    tunnel = tunnel_for(kind, "192.0.2.1", 80)
    with pytest.raises(WebSocketProxyException, match=f"closed.*speak {kind.upper()}"):
        tunnel.feed(b"")


@pytest.mark.parametrize(
    ("kind", "host", "auth", "words"),
    [
        ("socks4", "::1", None, "no IPv6"),
        ("socks4", "192.0.2.1", AUTH, "no passwords"),
        ("socks4a", "a", ("us\0er", ""), "control character"),
        ("socks5", "a", ("u" * 256, "hunter2"), "255 bytes"),
        ("socks5", "a", ("u", "hunter2" * 100), "255 bytes"),
        ("socks5", "a", "user:hunter2", "tuple"),
        ("socks5h", ".".join(["a" * 60] * 5), None, "255 bytes"),
    ],
)
def test_what_can_not_be_carried(kind: str, host: str, auth: Any, words: str) -> None:
    with pytest.raises(WebSocketProxyException, match=words) as caught:
        tunnel_for(kind, host, 80, auth)
    assert "hunter2" not in str(caught.value)


def outcome(kind: str, stream: bytes, sizes: list[int]) -> tuple[str, int, bytes]:
    """What becomes of a tunnel whose answers arrive in pieces of these sizes."""
    tunnel = tunnel_for(kind, "example.com", 80, ("joe", ""))
    position, sent = 0, b""
    while True:
        sent += tunnel.data_to_send()
        size = min(sizes[position % len(sizes)], tunnel.read_size)
        piece = stream[position : position + size]
        position += len(piece)
        try:
            if tunnel.feed(piece):
                return "stands", position, sent
        except WebSocketException as error:
            return str(error), position if piece else -1, sent


@given(
    st.sampled_from(["socks4a", "socks5h"]),
    st.sampled_from([OK4, b"\5\0" + OK5, b"\5\2\1\0" + OK5, b"\5\0\5\0\0\3\2xy\0\0", b""]),
    st.binary(max_size=12),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_how_answers_are_cut_makes_no_difference(
    kind: str, start: bytes, rest: bytes, sizes: list[int]
) -> None:
    assert outcome(kind, start + rest, sizes) == outcome(kind, start + rest, [1])


@given(st.lists(st.binary(max_size=12), max_size=12), st.sampled_from(["socks4a", "socks5h"]))
def test_any_answer_comes_to_an_end(answers: list[bytes], kind: str) -> None:
    """A tunnel stands, needs more, or raises an error of the tree; it never hangs or grows."""
    tunnel = tunnel_for(kind, "example.com", 80, None)
    sent = 0
    try:
        for answer in answers:
            sent += len(tunnel.data_to_send())
            if tunnel.feed(answer):
                break
            assert 0 < tunnel.read_size <= 258
    except WebSocketException:
        pass
    assert sent < 1000
