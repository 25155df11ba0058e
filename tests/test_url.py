"""The legacy URL parser and the choice of a proxy."""

from __future__ import annotations

import pytest

from websocket import _url
from websocket._exceptions import (
    WebSocketProxyException,
    WebSocketProxyTypeException,
    WebSocketURLException,
)
from websocket._url import Proxy, find_proxy, get_proxy_info, parse_url

VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in [*VARIABLES, *map(str.upper, VARIABLES), "REQUEST_METHOD"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch.setenv


class TestParseURL:
    def test_parts(self):
        assert parse_url("ws://www.example.com/r") == ("www.example.com", 80, "/r", False)
        assert parse_url("wss://[::1]:8/r?k=v") == ("::1", 8, "/r?k=v", True)

    def test_errors_are_value_errors(self):
        for bad in ("http://www.example.com/r", "www.example.com", "ws://"):
            with pytest.raises(ValueError, match="URL"):
                parse_url(bad)
            with pytest.raises(WebSocketURLException):
                parse_url(bad)


class TestExplicitProxy:
    def test_is_used(self):
        assert get_proxy_info("a.example", False, "proxy") == ("proxy", 0, None)
        assert get_proxy_info("a.example", True, "proxy", 3128, ("a", "b")) == (
            "proxy",
            3128,
            ("a", "b"),
        )
        found = find_proxy(
            "a.example", True, proxy_host="p", proxy_port="8080", proxy_type="SOCKS5"
        )
        assert found == Proxy("socks5", "p", 8080)

    def test_wins_over_the_environment(self, environment):
        environment("no_proxy", "*")
        environment("https_proxy", "http://other")
        assert get_proxy_info("localhost", True, "proxy", 1)[0] == "proxy"
        assert get_proxy_info("127.0.0.1", True, "proxy", 1, no_proxy=[])[0] == "proxy"

    def test_no_proxy_option(self):
        for function in (get_proxy_info, find_proxy):
            result = function("a.example", True, proxy_host="p", no_proxy=["example"])
            assert result in (None, (None, 0, None))
        assert find_proxy("a.example", True, proxy_host="p", no_proxy="b.example") is not None

    @pytest.mark.parametrize("port", ["x", -1, 65536, "1.5"])
    def test_bad_port(self, port):
        with pytest.raises(WebSocketProxyException, match="port"):
            find_proxy("a.example", True, proxy_host="p", proxy_port=port)

    @pytest.mark.parametrize("port", [0, None, "", "0"])
    def test_no_port(self, port):
        assert find_proxy("a.example", True, proxy_host="p", proxy_port=port) == Proxy("http", "p")

    @pytest.mark.parametrize("kind", ["ftp", "", None, 5])
    def test_bad_type(self, kind):
        with pytest.raises(WebSocketProxyTypeException) as info:
            find_proxy("a.example", True, proxy_host="p", proxy_type=kind)
        assert isinstance(info.value, ValueError)
        with pytest.raises(WebSocketProxyTypeException):
            get_proxy_info("a.example", True, "p", proxy_type=kind)

    def test_credentials_are_not_shown(self):
        proxy = find_proxy("a.example", True, proxy_host="p", proxy_auth=("user", "secret"))
        assert proxy is not None
        assert proxy.auth == ("user", "secret")
        assert "secret" not in repr(proxy)


class TestEnvironmentProxy:
    def test_none(self):
        assert get_proxy_info("a.example", False) == (None, 0, None)
        assert find_proxy("a.example", True) is None

    def test_scheme_chooses_the_variable(self, environment):
        environment("http_proxy", "http://plain:1")
        assert get_proxy_info("a.example", False) == ("plain", 1, None)
        assert get_proxy_info("a.example", True) == (None, 0, None)
        environment("https_proxy", "http://secure:2")
        assert get_proxy_info("a.example", True) == ("secure", 2, None)
        assert get_proxy_info("a.example", False) == ("plain", 1, None)

    def test_all_proxy_comes_last(self, environment):
        environment("ALL_PROXY", "socks5h://all:3")
        assert find_proxy("a.example", False) == Proxy("socks5h", "all", 3)
        assert find_proxy("a.example", True) == Proxy("socks5h", "all", 3)
        environment("https_proxy", "")
        assert find_proxy("a.example", True) == Proxy("socks5h", "all", 3)
        environment("https_proxy", "http://secure")
        assert find_proxy("a.example", True) == Proxy("http", "secure")

    def test_lower_case_wins(self, environment):
        environment("HTTPS_PROXY", "http://upper")
        assert get_proxy_info("a.example", True) == ("upper", None, None)
        environment("https_proxy", "http://lower")
        assert get_proxy_info("a.example", True) == ("lower", None, None)
        environment("https_proxy", "")
        assert get_proxy_info("a.example", True) == (None, 0, None)

    def test_http_proxy_of_a_cgi_script_is_the_attackers(self, environment):
        environment("HTTP_PROXY", "http://proxy")
        assert find_proxy("a.example", False) is not None
        environment("REQUEST_METHOD", "GET")
        assert find_proxy("a.example", False) is None

    @pytest.mark.parametrize("kind", list(_url.PROXY_TYPES))
    def test_scheme_is_honoured(self, environment, kind):
        environment("https_proxy", f"{kind}://proxy:1/")
        assert find_proxy("a.example", True) == Proxy(kind, "proxy", 1)

    @pytest.mark.parametrize(
        ("value", "host", "port", "auth"),
        [
            ("proxy", "proxy", None, None),
            ("proxy:8080", "proxy", 8080, None),
            ("http://proxy:80", "proxy", 80, None),
            ("http://[::1]:8080/", "::1", 8080, None),
            ("http://[::1]", "::1", None, None),
            ("http://u%40x:p%3A%2F@proxy:1", "proxy", 1, ("u@x", "p:/")),
            ("u:p@proxy", "proxy", None, ("u", "p")),
            ("http://u@proxy", "proxy", None, ("u", "")),
        ],
    )
    def test_value(self, environment, value, host, port, auth):
        environment("http_proxy", value)
        assert get_proxy_info("a.example", False) == (host, port, auth)

    @pytest.mark.parametrize(
        "value", ["ftp://u:secret@proxy", "http://u:secret@pro xy", "http://", "http://p:secret"]
    )
    def test_bad_value_is_an_error_that_hides_it(self, environment, value):
        environment("https_proxy", value)
        with pytest.raises(WebSocketProxyException, match="https_proxy") as info:
            find_proxy("a.example", True)
        assert "u:secret" not in str(info.value)
        assert "u:secret" not in str(info.value.__cause__)

    @pytest.mark.parametrize(
        "host", ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"]
    )
    def test_loopback_is_exempt(self, environment, host):
        environment("http_proxy", "http://proxy")
        assert find_proxy(host, False) is None
        assert find_proxy(host, False, no_proxy=["other"]) is None

    def test_no_proxy_variable(self, environment):
        environment("http_proxy", "http://proxy")
        environment("NO_PROXY", "a.example, b.example")
        assert find_proxy("b.example", False) is None
        environment("no_proxy", "c.example")
        assert find_proxy("b.example", False) is not None
        assert find_proxy("c.example", False) is None
        assert find_proxy("c.example", False, no_proxy=["d.example"]) is not None


class TestNoProxy:
    @pytest.mark.parametrize(
        ("host", "entry", "expected"),
        [
            ("a.example", "*", True),
            ("a.example", "a.example", True),
            ("A.Example", "a.eXAMPLE", True),
            ("a.example.", "a.example", True),
            ("a.b.example", "b.example", True),
            ("a.b.example", ".b.example", True),
            ("a.b.example", "*.b.example", True),
            ("b.example", ".b.example", True),
            ("ab.example", "b.example", False),
            ("b.example", "a.b.example", False),
            ("a.example", ".", False),
            ("bücher.example", "xn--bcher-kva.example", True),
            ("xn--bcher-kva.example", "bücher.example", True),
            ("10.1.2.3", "10.0.0.0/8", True),
            ("11.1.2.3", "10.0.0.0/8", False),
            ("10.1.2.3", "10.1.2.3", True),
            ("10.1.2.3", "2.3", False),
            ("10.1.2.3", "10.1.2.3/40", False),
            ("2001:db8::5", "2001:db8::/32", True),
            ("2001:db8::5", "[2001:db8::]/32", True),
            ("2001:db9::5", "2001:db8::/32", False),
            ("2001:db8::5", "2001:DB8:0::5", True),
            ("2001:db8::5", "[2001:db8::5]", True),
            ("2001:db8::5", "[2001:db8::5]:9000", True),
            ("2001:db8::5", "[2001:db8::5]:9001", False),
            ("10.1.2.3", "2001:db8::/32", False),
            ("a.example", "10.0.0.0/8", False),
            ("a.example", "a.example:9000", True),
            ("a.example", "a.example:9001", False),
            ("a.example", "b.example, a.example", True),
            ("a.example", "b.example a.example", True),
            ("a.example", "bad host!,\x00", False),
            ("example", "a..b", False),
        ],
    )
    def test_entry(self, host, entry, expected):
        assert _url._is_no_proxy_host(host, [entry], 9000) is expected
        assert _url._is_no_proxy_host(host, ["x.invalid", entry], 9000) is expected
        assert _url._is_no_proxy_host(host, entry, 9000) is expected

    def test_without_list_the_environment_and_loopback_count(self, environment):
        assert _url._is_no_proxy_host("127.0.0.1", None)
        assert _url._is_no_proxy_host("localhost", [])
        assert not _url._is_no_proxy_host("a.example", None)
        environment("no_proxy", "a.example,192.168.0.0/16")
        assert _url._is_no_proxy_host("a.example", None)
        assert _url._is_no_proxy_host("192.168.1.1", None)
        assert not _url._is_no_proxy_host("192.169.1.1", None)

    def test_a_port_entry_needs_a_known_port(self):
        assert not _url._is_no_proxy_host("a.example", ["a.example:80"])


class TestAddresses:
    def test_is_ip_address(self):
        assert _url._is_ip_address("127.0.0.1")
        assert _url._is_ip_address("::1")
        assert not _url._is_ip_address("localhost")
        assert not _url._is_ip_address("127.0.0.256")

    def test_is_subnet_address(self):
        assert _url._is_subnet_address("127.0.0.1/16")
        assert _url._is_subnet_address("2001:db8::/32")
        assert not _url._is_subnet_address("127.0.0.1")
        assert not _url._is_subnet_address("127.0.0.1/33")
        assert not _url._is_subnet_address("a/b")

    def test_is_address_in_network(self):
        assert _url._is_address_in_network("127.1.2.3", "127.0.0.0/8")
        assert not _url._is_address_in_network("128.1.2.3", "127.0.0.0/8")
        assert not _url._is_address_in_network("::1", "127.0.0.0/8")
        assert not _url._is_address_in_network("name", "127.0.0.0/8")

    def test_defaults(self):
        assert _url.DEFAULT_NO_PROXY_HOST == ["localhost", "127.0.0.1"]


class TestProxyAsURL:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("http://h:1", Proxy("http", "h", 1)),
            ("h:1", Proxy("http", "h", 1)),
            ("h", Proxy("http", "h")),
            ("https://h", Proxy("https", "h")),
            ("SOCKS5H://h/", Proxy("socks5h", "h")),
            ("socks://h:9", Proxy("socks5h", "h", 9)),
            (" socks4a://j%40y@[::1]:2 ", Proxy("socks4a", "::1", 2, ("j@y", ""))),
            ("http://u:p%3A%2F@h", Proxy("http", "h", None, ("u", "p:/"))),
        ],
    )
    def test_parts(self, value, expected):
        assert _url.parse_proxy(value) == expected

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("http://", "names no host"),
            ("http://u:hunter2@", "names no host"),
            ("http://u:hunter2@h:x", "its port is no number"),
            ("http://u:hunter2@h:0", "its port is no number"),
            ("http://u:p@hunter2/word@h", None),
            ("http://a b", "no host name"),
            ("gopher://u:hunter2@h", "gopher"),
        ],
    )
    def test_what_it_can_not_be(self, value, words):
        if words is None:
            # A slash in a password ends the host; at least the rest of it is shown to nobody.
            assert "word" not in repr(_url.parse_proxy(value))
            return
        with pytest.raises(WebSocketProxyException, match=words) as caught:
            _url.parse_proxy(value, "the option")
        assert "the option" in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is None


class TestSystemSettings:
    @pytest.fixture(autouse=True)
    def system(self, monkeypatch):
        """What macOS or Windows would say."""
        self.settings = {}
        self.exempt = set()
        monkeypatch.setattr("sys.platform", "darwin")
        monkeypatch.setattr("urllib.request.getproxies", lambda: self.settings)
        monkeypatch.setattr(
            "urllib.request.proxy_bypass", lambda host: host in self.exempt, raising=False
        )

    def test_none(self):
        assert find_proxy("a.example", True) is None

    def test_by_scheme_then_socks(self):
        self.settings.update({"http": "http://plain:1", "socks": "socks://all:2"})
        assert find_proxy("a.example", False) == Proxy("http", "plain", 1)
        assert find_proxy("a.example", True) == Proxy("socks5h", "all", 2)
        self.settings["https"] = "http://secure:3"
        assert find_proxy("a.example", True) == Proxy("http", "secure", 3)

    def test_exemptions(self):
        self.settings["http"] = "http://plain:1"
        self.exempt.add("a.example")
        assert find_proxy("a.example", False) is None
        assert find_proxy("localhost", False) is None
        assert find_proxy("b.example", False, no_proxy=["b.example"]) is None

    def test_the_environment_comes_first(self, environment):
        self.settings["http"] = "http://plain:1"
        environment("http_proxy", "http://environment:9")
        assert find_proxy("a.example", False) == Proxy("http", "environment", 9)

    def test_settings_that_make_no_sense(self):
        self.settings["http"] = "http://plain:port"
        with pytest.raises(WebSocketProxyException, match="the system's settings"):
            find_proxy("a.example", False)
