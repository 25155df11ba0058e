"""The opening handshake without I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket._exceptions import WebSocketArgumentException, WebSocketHandshakeException
from websocket._protocol import accepting, handshake
from websocket._protocol.http11 import Headers, RequestHead, RequestReader, ResponseReader
from websocket._protocol.http11 import ResponseHead as Head
from websocket._protocol.uri import URL

# RFC 6455 section 1.3 gives this pair.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
PLAIN = URL.parse("ws://example.com/chat?a=b")


def lines(url: URL = PLAIN, **options) -> list[str]:
    data = handshake.build_request(url, KEY, **options)
    assert data.endswith(b"\r\n\r\n")
    return data.decode()[:-4].split("\r\n")


def answer(*changes: tuple[str, str | None], status: int = 101, version: str = "1.1") -> Head:
    """A valid answer to KEY, with fields replaced, removed (None) or added."""
    fields = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}
    pairs = list(fields.items())
    for name, value in changes:
        if name in fields:
            pairs = [pair for pair in pairs if pair[0] != name]
        if value is not None:
            pairs.append((name, value))
    return Head(version, status, "", Headers(pairs))


class TestKey:
    def test_example_of_the_rfc(self):
        assert handshake.make_key(b"the sample nonce") == KEY
        assert handshake.accept_value(KEY) == ACCEPT

    def test_size(self):
        with pytest.raises(WebSocketArgumentException, match="16"):
            handshake.make_key(b"short")


class TestRequest:
    def test_order_and_form(self):
        url = URL.parse("ws://user:pass@example.com:8080/chat?a=b")
        assert lines(
            url,
            header={"Custom": "1", "Skipped": None},
            subprotocols=["a", "b"],
            cookie="x=y",
            extensions=["foo; bar=1"],
        ) == [
            "GET /chat?a=b HTTP/1.1",
            "Upgrade: websocket",
            "Host: example.com:8080",
            "Origin: http://example.com:8080",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            "Connection: Upgrade",
            "Sec-WebSocket-Protocol: a,b",
            "Sec-WebSocket-Extensions: foo; bar=1",
            "Custom: 1",
            "Authorization: Basic dXNlcjpwYXNz",
            "Cookie: x=y",
        ]

    def test_minimal(self):
        assert lines()[1:] == [
            "Upgrade: websocket",
            "Host: example.com",
            "Origin: http://example.com",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13",
            "Connection: Upgrade",
        ]
        assert "Origin: https://example.com" in lines(URL.parse("wss://example.com"))

    def test_host_and_origin_options(self):
        sent = lines(host="example.com/path", origin="testing_websockets.com")
        assert "Host: example.com/path" in sent
        assert "Origin: testing_websockets.com" in sent
        sent = lines(suppress_host=True, suppress_origin=True, host="x", origin="y")
        assert not [line for line in sent if line.startswith(("Host", "Origin"))]
        assert "Origin: " in lines(origin="")

    @pytest.mark.parametrize(
        "connection",
        [
            "keep-alive, Upgrade",
            "Connection: keep-alive, Upgrade",
            "connection:keep-alive, Upgrade",
        ],
    )
    def test_connection_option(self, connection):
        assert "Connection: keep-alive, Upgrade" in lines(connection=connection)

    @pytest.mark.parametrize(
        "header",
        [
            {"sec-websocket-key": "abc", "SEC-WEBSOCKET-VERSION": "8", "origin": "o", "host": "h"},
            ["sec-websocket-key:abc", "SEC-WEBSOCKET-VERSION: 8", "origin: o", "host:  h"],
        ],
    )
    def test_own_fields_take_the_place_of_generated_ones(self, header):
        request = handshake.prepare_request(PLAIN, KEY, header=header)
        sent = request.data.decode().split("\r\n")
        assert sent[3:7] == [
            "sec-websocket-key: abc",
            "SEC-WEBSOCKET-VERSION: 8",
            "origin: o",
            "host: h",
        ]
        assert request.key == "abc"
        assert KEY not in request.data.decode()

    def test_offers_made_through_headers_count(self):
        header = ["Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: x; y=1, z"]
        request = handshake.prepare_request(PLAIN, KEY, header=header)
        assert request.subprotocols == ("a", "b")
        assert request.extensions == ("x", "z")

    def test_own_authorization_wins_over_the_url(self):
        url = URL.parse("ws://user:pass@example.com")
        sent = lines(url, header=["authorization: Bearer x"])
        assert [line for line in sent if line.lower().startswith("auth")] == [
            "authorization: Bearer x"
        ]

    def test_cookies_go_into_one_line(self):
        sent = lines(header={"cookie": "a=1"}, cookie="b=2")
        assert [line for line in sent if line.lower().startswith("cookie")] == ["Cookie: a=1; b=2"]

    def test_values_may_be_numbers_or_not_ascii(self):
        sent = lines(header={"Count": 5, "Name": "é"})
        assert "Count: 5" in sent
        assert "Name: é" in sent

    def test_a_colon_may_stand_in_a_value(self):
        assert "A: b:c" in lines(header=["A:b:c"])

    def test_trace_text(self):
        text = handshake.prepare_request(PLAIN, KEY).text
        assert text.startswith("GET /chat?a=b HTTP/1.1\nUpgrade: websocket\n")
        assert text.endswith("Connection: Upgrade\n\n")
        assert "\r" not in text

    @pytest.mark.parametrize("bad", ["a\r\nEvil: 1", "a\nb", "a\rb", "a\0b"])
    @pytest.mark.parametrize(
        "option",
        [
            lambda bad: {"header": {"A": bad}},
            lambda bad: {"header": {bad: "b"}},
            lambda bad: {"header": [f"A: {bad}"]},
            lambda bad: {"cookie": bad},
            lambda bad: {"origin": bad},
            lambda bad: {"host": bad},
            lambda bad: {"connection": bad},
            lambda bad: {"connection": f"Connection: {bad}"},
            lambda bad: {"subprotocols": [bad]},
            lambda bad: {"extensions": [bad]},
            lambda bad: {"url": URL(False, "example.com", 80, bad)},
            lambda bad: {"url": URL(False, bad, 80)},
        ],
    )
    def test_injection_is_refused(self, bad, option):
        options = {"url": PLAIN, **option(bad)}
        with pytest.raises(WebSocketArgumentException):
            lines(**options)

    def test_credentials_can_not_inject(self):
        url = URL.parse("ws://us%0D%0Aer:pa%0D%0Ass@example.com")
        assert len(lines(url)) == 8
        with pytest.raises(WebSocketArgumentException, match="colon") as info:
            lines(URL.parse("ws://us%3Aer:secret@example.com"))
        assert "secret" not in str(info.value)

    @pytest.mark.parametrize(
        "header",
        [
            "A: b",
            b"A: b",
            5,
            [b"A: b"],
            [None],
            {"A": b"b"},
            {5.0: "a"},
            ["no colon"],
            [""],
            [": x"],
        ],
    )
    def test_bad_header_option(self, header):
        with pytest.raises(WebSocketArgumentException):
            lines(header=header)

    @pytest.mark.parametrize("subprotocols", ["chat", ["a b"], [""], ["a", "a"], ["a,b"], [5]])
    def test_bad_subprotocols(self, subprotocols):
        with pytest.raises(WebSocketArgumentException, match="subprotocol"):
            lines(subprotocols=subprotocols)

    @given(
        st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=3),
        st.text(max_size=8),
        st.text(max_size=8),
    )
    def test_no_option_adds_a_line(self, header, cookie, origin):
        """Whatever the values, the server reads exactly the fields that were meant."""
        try:
            data = handshake.build_request(PLAIN, KEY, header=header, cookie=cookie, origin=origin)
        except WebSocketArgumentException:
            return
        assert data.count(b"\r\n\r\n") == 1
        assert data.count(b"\n") == data.count(b"\r") == 8 + len(header) + bool(cookie)


class TestResponse:
    @pytest.mark.parametrize(
        "changes",
        [
            [],
            [("Upgrade", "WebSocket")],
            [("Upgrade", "foo, websocket")],
            [("Connection", "keep-alive, UPGRADE")],
            [("Connection", "keep-alive"), ("connection", "upgrade")],
        ],
    )
    def test_accepted(self, changes):
        assert handshake.check_response(answer(*changes), KEY) is None

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ([("Upgrade", None)], "Upgrade header is missing"),
            ([("Upgrade", "websockets")], "Upgrade header is 'websockets'"),
            ([("Upgrade", "web socket")], "Upgrade"),
            ([("Connection", None)], "Connection header is missing"),
            ([("Connection", "close")], "Connection"),
            ([("Sec-WebSocket-Accept", None)], "no Sec-WebSocket-Accept"),
            ([("Sec-WebSocket-Accept", "")], "Sec-WebSocket-Accept"),
            ([("Sec-WebSocket-Accept", ACCEPT.lower())], "Sec-WebSocket-Accept"),
            ([("Sec-WebSocket-Accept", ACCEPT + "x")], "Sec-WebSocket-Accept"),
            ([("sec-websocket-accept", ACCEPT)], "2 Sec-WebSocket-Accept"),
            ([("Sec-WebSocket-Extensions", "permessage-deflate")], "not offered"),
            ([("Sec-WebSocket-Protocol", "chat")], "not offered"),
            ([("Sec-WebSocket-Protocol", "")], "not offered"),
        ],
    )
    def test_refused(self, changes, reason):
        head = answer(*changes)
        with pytest.raises(WebSocketHandshakeException, match=reason) as info:
            handshake.check_response(head, KEY, body=b"body")
        assert info.value.status_code == 101
        assert info.value.resp_headers is head.headers
        assert info.value.resp_body == b"body"

    def test_status_and_version(self):
        with pytest.raises(WebSocketHandshakeException, match="200 instead of 101"):
            handshake.check_response(answer(status=200), KEY)
        with pytest.raises(WebSocketHandshakeException, match=r"HTTP/1\.0"):
            handshake.check_response(answer(version="1.0"), KEY)

    @pytest.mark.parametrize(
        ("offered", "chosen", "agreed"),
        [
            (["a", "b"], "b", "b"),
            (["Chat"], "chat", "Chat"),
            (["chat"], "CHAT", "chat"),
            (["CHAT", "chat"], "chat", "chat"),
        ],
    )
    def test_subprotocol(self, offered, chosen, agreed):
        head = answer(("Sec-WebSocket-Protocol", chosen))
        assert handshake.check_response(head, KEY, offered) == agreed

    @pytest.mark.parametrize(
        "changes",
        [
            [],
            [("Sec-WebSocket-Protocol", "c")],
            [("Sec-WebSocket-Protocol", "a, b")],
            [("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b")],
        ],
    )
    def test_subprotocol_refused(self, changes):
        with pytest.raises(WebSocketHandshakeException, match=r"(?i)subprotocol|Protocol"):
            handshake.check_response(answer(*changes), KEY, ["a", "b"])

    def test_extension_that_was_offered(self):
        head = answer(("Sec-WebSocket-Extensions", "Permessage-Deflate; a=b"))
        assert handshake.check_response(head, KEY, (), ["permessage-deflate"]) is None


class TestRedirect:
    @pytest.mark.parametrize(
        ("start", "location", "target"),
        [
            ("ws://a.example/x/y?q", "/z", "ws://a.example/z"),
            ("ws://a.example/x/y?q", "z?r", "ws://a.example/x/z?r"),
            ("ws://a.example/x/y?q", "?r", "ws://a.example/x/y?r"),
            ("ws://a.example:8080/x", "z#fragment", "ws://a.example:8080/z"),
            ("wss://a.example/x", "//b.example/z", "wss://b.example/z"),
            ("ws://a.example/", "wss://b.example/", "wss://b.example/"),
            ("ws://a.example/", "https://b.example:1/", "wss://b.example:1/"),
            ("ws://a.example/", "HTTP://b.example/é", "ws://b.example/%C3%A9"),
            ("wss://[::1]:9/x", "y", "wss://[::1]:9/y"),
        ],
    )
    def test_target(self, start, location, target):
        head = Head("1.1", 301, "", Headers([("Location", location)]))
        assert str(handshake.redirect_target(URL.parse(start), head)) == target

    def test_credentials_stay_with_the_origin(self):
        start = URL.parse("ws://u:p@a.example/x")
        for location, userinfo in (
            ("/y", ("u", "p")),
            ("ws://a.example:80/y", ("u", "p")),
            ("ws://a.example:81/y", None),
            ("wss://a.example:80/y", None),
            ("ws://b.example/y", None),
            ("ws://x:y@b.example/y", None),
        ):
            head = Head("1.1", 307, "", Headers([("Location", location)]))
            assert handshake.redirect_target(start, head).userinfo == userinfo

    def test_the_zone_of_an_address_stays(self):
        head = Head("1.1", 307, "", Headers([("Location", "/y")]))
        assert (
            handshake.redirect_target(URL.parse("ws://[fe80::1%25lo]/"), head).host == "fe80::1%lo"
        )

    @pytest.mark.parametrize(
        ("headers", "reason"),
        [
            ([], "no Location"),
            ([("Location", "")], "no Location"),
            ([("Location", "ws://b.example/")], "unencrypted"),
            ([("Location", "http://a.example/")], "unencrypted"),
            ([("Location", "ftp://a.example/")], "scheme"),
            ([("Location", "wss://[::1/")], "followed"),
            ([("Location", "wss://a.example:x/")], "port"),
        ],
    )
    def test_refused(self, headers, reason):
        head = Head("1.1", 302, "Found", Headers(headers))
        with pytest.raises(WebSocketHandshakeException, match=reason) as info:
            handshake.redirect_target(URL.parse("wss://a.example/"), head)
        assert info.value.status_code == 302
        assert info.value.resp_headers is head.headers


class TestServerRole:
    def request(self, *changes: tuple[str, str | None], method="GET", version="1.1") -> RequestHead:
        reader = RequestReader()
        reader.feed(handshake.build_request(PLAIN, KEY))
        assert reader.head is not None
        pairs = list(reader.head.headers.pairs)
        for name, value in changes:
            pairs = [pair for pair in pairs if pair[0] != name]
            if value is not None:
                pairs.append((name, value))
        return RequestHead(method, "/", version, Headers(pairs))

    def test_client_and_server_agree(self):
        key = accepting.check_request(self.request())
        assert key == KEY
        reader = ResponseReader()
        reader.feed(accepting.build_response(key, "chat", [("A", "b")]))
        assert reader.head is not None
        assert reader.head.headers["a"] == "b"
        assert handshake.check_response(reader.head, KEY, ["chat"]) == "chat"

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ([("Host", None)], 400),
            ([("Upgrade", None)], 426),
            ([("Connection", "close")], 426),
            ([("Sec-WebSocket-Version", "8")], 426),
            ([("Sec-WebSocket-Version", None)], 426),
            ([("Sec-WebSocket-Key", None)], 400),
            ([("Sec-WebSocket-Key", "dGhl")], 400),
            ([("Sec-WebSocket-Key", "!" * 24)], 400),
            ([("Sec-WebSocket-Key", "é" * 24)], 400),
        ],
    )
    def test_refused(self, changes, status):
        with pytest.raises(WebSocketHandshakeException) as info:
            accepting.check_request(self.request(*changes))
        assert info.value.status_code == status

    def test_method_and_version(self):
        for change, status in (({"method": "POST"}, 405), ({"version": "1.0"}, 505)):
            with pytest.raises(WebSocketHandshakeException) as info:
                accepting.check_request(self.request(**change))
            assert info.value.status_code == status

    def test_refusal(self):
        reader = ResponseReader()
        reader.feed(accepting.build_refusal(403, body=b"no", headers=[("A", "b")]))
        assert reader.done
        assert reader.head is not None
        assert (reader.head.status, reader.head.reason) == (403, "Forbidden")
        assert reader.head.headers["a"] == "b"
        assert reader.body == b"no"

    def test_refusal_for_the_version_names_it(self):
        reader = ResponseReader()
        reader.feed(accepting.build_refusal(426))
        assert reader.head is not None
        assert reader.head.headers["sec-websocket-version"] == "13"
        assert reader.head.headers["upgrade"] == "websocket"

    def test_refusal_with_own_reason(self):
        assert accepting.build_refusal(599, "Nope").startswith(b"HTTP/1.1 599 Nope\r\n")
        assert accepting.build_refusal(599).startswith(b"HTTP/1.1 599 \r\n")
