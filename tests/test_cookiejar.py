"""The cookie jar."""

from __future__ import annotations

import http.cookiejar

import pytest

from websocket._cookiejar import SimpleCookieJar
from websocket._protocol.uri import URL

PLAIN = URL.parse("ws://www.example.com/chat/room")
SECURE = URL.parse("wss://www.example.com/chat/room")


class TestCookiesOfTheProgram:
    @pytest.mark.parametrize(
        ("added", "host", "expected"),
        [
            (["a=b; domain=example.com"], "example.com", "a=b"),
            (["a=b; domain=.example.com"], "www.example.com", "a=b"),
            (["a=b; domain=.example.com"], "example.com", "a=b"),
            (["a=b; domain=Example.com"], "EXAMPLE.com", "a=b"),
            (["a=b; domain=example.com"], "notexample.com", ""),
            (["a=b; domain=www.example.com"], "example.com", ""),
            (["a=b; c=d; domain=example.com"], "example.com", "a=b; c=d"),
            (["c=d; domain=abc", "a=b; domain=.abc"], "abc", "a=b; c=d"),
            (["a=b; domain=abc", "a=c; domain=abc"], "abc", "a=c"),
            (["a=b"], "example.com", ""),
            (["", None], "example.com", ""),
        ],
    )
    def test_add(self, added, host, expected):
        jar = SimpleCookieJar()
        for line in added:
            jar.add(line)
        assert jar.get(host) == expected

    def test_set_replaces_what_the_domain_had(self):
        jar = SimpleCookieJar()
        jar.add("a=b; domain=abc")
        jar.set("c=d; domain=abc")
        jar.set("e=f; domain=xyz")
        assert jar.get("abc") == "c=d"
        assert jar.get("xyz") == "e=f"
        jar.set(None)
        assert jar.get("abc") == "c=d"

    def test_no_host(self):
        jar = SimpleCookieJar()
        jar.add("a=b; domain=abc")
        assert jar.get("") == jar.get(None) == ""

    def test_jar_shows_them_by_domain(self):
        jar = SimpleCookieJar()
        assert not jar.jar
        jar.add("a=b")
        assert not jar.jar
        jar.add("a=b; domain=abc")
        assert jar.jar[".abc"]["a"].value == "b"

    def test_quoted_values_stay_quoted(self):
        jar = SimpleCookieJar()
        jar.add('a="b c"; domain=abc')
        assert jar.get("abc") == 'a="b c"'

    def test_they_are_sent_along(self):
        jar = SimpleCookieJar()
        jar.add("a=b; domain=example.com")
        jar.store(PLAIN, ["c=d"])
        assert jar.header_for(PLAIN) == "a=b; c=d"


def sent(set_cookie: str, to: str, url: URL = PLAIN) -> bool:
    jar = SimpleCookieJar()
    jar.store(url, [set_cookie])
    header = jar.header_for(URL.parse(to))
    assert header in ("", "a=b")
    return bool(header)


class TestCookiesOfServers:
    def test_host_only(self):
        assert sent("a=b; Path=/", "ws://www.example.com/")
        assert sent("a=b; Path=/", "ws://www.example.com:8080/")
        assert not sent("a=b; Path=/", "ws://sub.www.example.com/")
        assert not sent("a=b; Path=/", "ws://example.com/")

    def test_domain(self):
        assert sent("a=b; Path=/; Domain=example.com", "ws://example.com/")
        assert sent("a=b; Path=/; Domain=.example.com", "ws://other.example.com/")
        assert not sent("a=b; Path=/; Domain=example.com", "ws://example.org/")

    @pytest.mark.parametrize("domain", ["com", "other.org", "sub.www.example.com"])
    def test_foreign_domains_are_refused(self, domain):
        assert not sent(f"a=b; Path=/; Domain={domain}", "ws://www.example.com/")
        assert not sent(f"a=b; Path=/; Domain={domain}", f"ws://{domain}/")

    def test_path(self):
        assert sent("a=b; Path=/chat", "ws://www.example.com/chat/x")
        assert sent("a=b; Path=/chat", "ws://www.example.com/chat")
        assert not sent("a=b; Path=/chat", "ws://www.example.com/chatter")
        assert not sent("a=b; Path=/chat", "ws://www.example.com/")
        # Without a path, that of the request up to its last slash counts.
        assert sent("a=b", "ws://www.example.com/chat/x")
        assert not sent("a=b", "ws://www.example.com/")

    def test_expiry(self):
        assert sent("a=b; Max-Age=3600", "ws://www.example.com/chat/")
        assert not sent("a=b; Max-Age=0", "ws://www.example.com/chat/")
        past = "Thu, 01 Jan 1970 00:00:01 GMT"
        assert not sent(f"a=b; Expires={past}", "ws://www.example.com/chat/")

    def test_expiry_deletes(self):
        jar = SimpleCookieJar()
        jar.store(PLAIN, ["a=b"])
        jar.store(PLAIN, ["a=b; Max-Age=0"])
        assert jar.header_for(PLAIN) == ""

    def test_secure(self):
        assert sent("a=b; Path=/; Secure", "wss://www.example.com/", SECURE)
        assert not sent("a=b; Path=/; Secure", "ws://www.example.com/", SECURE)
        assert sent("a=b; Path=/", "ws://www.example.com/", SECURE)

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "bücher.example"])
    def test_special_hosts(self, host):
        url = f"ws://{host}:8000/"
        assert sent("a=b", url, URL.parse(url))

    def test_several_fields(self):
        jar = SimpleCookieJar()
        jar.store(PLAIN, ["a=b; Expires=Fri, 01 Jan 2100 00:00:00 GMT", "c=d"])
        assert sorted(jar.header_for(PLAIN).split("; ")) == ["a=b", "c=d"]

    @pytest.mark.parametrize("line", ["", ";", "=", "; Path=/", "a", "a=b; Max-Age=x; Expires=y"])
    def test_odd_fields_do_no_harm(self, line):
        jar = SimpleCookieJar()
        jar.store(PLAIN, [line])
        assert "\n" not in jar.header_for(PLAIN)

    def test_get_shows_them(self):
        jar = SimpleCookieJar()
        jar.store(SECURE, ["a=b; Path=/; Secure"])
        assert jar.get("www.example.com") == "a=b"

    def test_a_store_of_the_program(self):
        store = http.cookiejar.CookieJar()
        jar = SimpleCookieJar(store)
        jar.store(PLAIN, ["a=b"])
        assert [cookie.name for cookie in store] == ["a"]
        assert SimpleCookieJar(store).header_for(PLAIN) == "a=b"

    def test_nothing_set(self):
        jar = SimpleCookieJar()
        jar.store(PLAIN, [])
        assert jar.header_for(PLAIN) == ""
