"""The URL value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket._exceptions import WebSocketURLException
from websocket._protocol.uri import URL, ascii_hostname, encode_resource, pack_hostname


class TestParse:
    @pytest.mark.parametrize(
        ("url", "secure", "host", "port", "resource"),
        [
            ("ws://example.com", False, "example.com", 80, "/"),
            ("wss://example.com", True, "example.com", 443, "/"),
            ("WSS://Example.COM:8443/A", True, "example.com", 8443, "/A"),
            ("ws://example.com:/r", False, "example.com", 80, "/r"),
            ("ws://example.com?a=b", False, "example.com", 80, "/?a=b"),
            ("ws://example.com/?", False, "example.com", 80, "/?"),
            ("ws://example.com/a/b?c=d&e=/?:@f", False, "example.com", 80, "/a/b?c=d&e=/?:@f"),
            ("ws://example.com/a#fragment?x", False, "example.com", 80, "/a"),
            ("ws://example.com#fragment", False, "example.com", 80, "/"),
            ("ws://under_score.example./", False, "under_score.example.", 80, "/"),
            ("ws://127.0.0.1:65535/", False, "127.0.0.1", 65535, "/"),
            ("ws://[2001:DB8::1]/r", False, "2001:db8::1", 80, "/r"),
            ("ws://[::1]:9000", False, "::1", 9000, "/"),
            ("ws://[fe80::1%25eth0]/", False, "fe80::1%eth0", 80, "/"),
            ("ws://[fe80::1%eth0]/", False, "fe80::1%eth0", 80, "/"),
            ("ws://[fe80::1%25]/", False, "fe80::1%25", 80, "/"),
            ("ws://example.com/a b", False, "example.com", 80, "/a%20b"),
            ("ws://example.com/é?ü", False, "example.com", 80, "/%C3%A9?%C3%BC"),
            ("ws://example.com/%C3%A9%", False, "example.com", 80, "/%C3%A9%"),
            ("  ws://example.com/  ", False, "example.com", 80, "/"),
            ("ws://bücher.example/", False, "bücher.example", 80, "/"),
            ("ws://example.com//double", False, "example.com", 80, "//double"),
        ],
    )
    def test_valid(self, url, secure, host, port, resource):
        parsed = URL.parse(url)
        assert parsed == URL(secure, host, port, resource)
        assert parsed.userinfo is None

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("", "scheme"),
            ("example.com", "scheme"),
            ("//example.com/", "scheme"),
            ("example.com:80/x", "scheme"),
            ("http://example.com/", '"ws://" instead'),
            ("https://example.com/", '"wss://" instead'),
            ("ftp://example.com/", "scheme"),
            ("ws:example.com", "host"),
            ("ws:///path", "host"),
            ("ws://", "host"),
            ("ws://:80/", "host"),
            ("ws://user@/", "host"),
            ("ws://example.com:port/", "port"),
            ("ws://example.com:0/", "port"),
            ("ws://example.com:65536/", "port"),
            ("ws://example.com:-1/", "port"),
            ("ws://example.com:+1/", "port"),
            ("ws://example.com:8１/", "port"),
            ("ws://2001:db8::1/", "brackets"),
            ("ws://[::1/", "IPv6"),
            ("ws://[::1]80/", "IPv6"),
            ("ws://[]/", "IPv6"),
            ("ws://[example.com]/", "IPv6"),
            ("ws://[v1.x]/", "IPv6"),
            ("ws://[fe80::1%25a b]/", "zone"),
            ("ws://good.example\\@evil.example\\/", "character"),
            ("ws://exa mple.com/", "character"),
            ("ws://exa%6dple.com/", "character"),
            ("ws://℀.example/", "character"),
            ("ws://a..example/", "label"),
            ("ws://.example/", "label"),
            ("ws://" + "a" * 64 + ".example/", "label"),
            ("ws://" + "é" * 64 + ".example/", "internationalised"),
            ("ws://example.com/\r\nX: y", "control"),
            ("ws://example.com/\n", "control"),
            ("ws://example.com/\0", "control"),
            ("ws://exa\tmple.com/", "control"),
            ("ws://example.com/\x85", "control"),
            ("ws://example.com/\ud800", "UTF-8"),
            ("ws://example.com/" + "a" * 65536, "longer"),
            (None, "str"),
            (b"ws://example.com/", "str"),
        ],
    )
    def test_invalid(self, url, reason):
        with pytest.raises(WebSocketURLException, match=reason) as info:
            URL.parse(url)
        assert isinstance(info.value, ValueError)
        assert len(str(info.value)) < 500

    @given(st.text(max_size=40))
    def test_any_text_parses_or_is_refused(self, text):
        for url in (text, f"ws://{text}", f"ws://example.com/{text}"):
            try:
                parsed = URL.parse(url)
            except WebSocketURLException:
                continue
            assert URL.parse(str(parsed)).origin == parsed.origin
            assert URL.parse(str(parsed)).resource == parsed.resource
            assert parsed.resource.isascii()
            assert not set(parsed.resource + parsed.hostport) & set(" \r\n\t\0")


class TestCredentials:
    @pytest.mark.parametrize(
        ("userinfo", "expected"),
        [
            ("user:pass", ("user", "pass")),
            ("user", ("user", "")),
            ("us%40er:p%3Aa:ss", ("us@er", "p:a:ss")),
            (":pass", ("", "pass")),
            ("", ("", "")),
            ("a@b:c", ("a@b", "c")),
        ],
    )
    def test_userinfo(self, userinfo, expected):
        parsed = URL.parse(f"wss://{userinfo}@example.com/")
        assert parsed.userinfo == expected
        assert parsed.host == "example.com"

    def test_password_is_never_shown(self):
        parsed = URL.parse("ws://user:secret@example.com/")
        assert "secret" not in repr(parsed)
        assert str(parsed) == "ws://example.com/"

    @pytest.mark.parametrize("url", ["ftp://u:secret@h/", "ws://u:secret@h:x/", "ws://u:secret@/"])
    def test_password_is_not_in_errors(self, url):
        with pytest.raises(WebSocketURLException) as info:
            URL.parse(url)
        assert "secret" not in str(info.value)


class TestParts:
    @pytest.mark.parametrize(
        ("url", "hostport", "origin"),
        [
            ("ws://example.com:80/", "example.com", "http://example.com"),
            ("ws://example.com:443/", "example.com:443", "http://example.com:443"),
            ("wss://example.com:443/", "example.com", "https://example.com"),
            ("wss://example.com:80/", "example.com:80", "https://example.com:80"),
            ("ws://[::1]:8080/", "[::1]:8080", "http://[::1]:8080"),
            ("ws://[fe80::1%25eth0]/", "[fe80::1]", "http://[fe80::1]"),
            ("ws://bücher.example/", "xn--bcher-kva.example", "http://xn--bcher-kva.example"),
        ],
    )
    def test_host_and_origin_fields(self, url, hostport, origin):
        parsed = URL.parse(url)
        assert parsed.hostport == hostport
        assert parsed.default_origin == origin

    def test_origin_compares_what_decides_about_credentials(self):
        origin = URL.parse("ws://Example.com/a").origin
        assert origin == URL.parse("ws://u:p@example.com.:80/b").origin
        assert origin != URL.parse("wss://example.com:80/").origin
        assert origin != URL.parse("ws://example.com:81/").origin
        assert origin != URL.parse("ws://www.example.com/").origin


class TestHelpers:
    def test_ascii_hostname(self):
        assert ascii_hostname("Example.COM") == "example.com"
        assert ascii_hostname("BÜCHER.example") == "xn--bcher-kva.example"
        assert ascii_hostname("bücher。example") == "xn--bcher-kva.example"
        assert ascii_hostname("::1") == "::1"
        for bad in ("", ".", "a/b", "a b", "a\n"):
            with pytest.raises(WebSocketURLException):
                ascii_hostname(bad)

    def test_pack_hostname(self):
        assert pack_hostname("example.com") == "example.com"
        assert pack_hostname("::1") == "[::1]"
        assert pack_hostname("[::1]") == "[::1]"
        assert pack_hostname("fe80::1%eth0") == "[fe80::1]"

    @given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
    def test_encoding_a_resource_twice_changes_nothing(self, text):
        once = encode_resource(text)
        assert encode_resource(once) == once
        assert once.startswith("/")
        assert all("!" <= character <= "~" for character in once)


@pytest.mark.parametrize(
    ("url", "path", "resource", "secure"),
    [
        ("ws+unix:///run/app.sock", "/run/app.sock", "/", False),
        ("ws+unix:///run/app.sock:", "/run/app.sock", "/", False),
        ("ws+unix:///run/app.sock:/chat?room=1", "/run/app.sock", "/chat?room=1", False),
        ("WSS+UNIX:///run/a%3Ab%20c:/x:y#z", "/run/a:b c", "/x:y", True),
        ("ws+unix:/run/app.sock:/", "/run/app.sock", "/", False),
    ],
)
def test_unix_sockets(url, path, resource, secure):
    parsed = URL.parse(url)
    assert (parsed.unix_path, parsed.resource, parsed.secure) == (path, resource, secure)
    assert parsed.hostport == "localhost"
    assert str(parsed).startswith("wss+unix:///" if secure else "ws+unix:///")
    assert parsed.origin != URL.parse("ws://localhost/").origin
