"""The cookie jar of the opening handshake (RFC 6265), on the standard library's cookie modules.

Those are imported when the first cookie turns up, because they are slow to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ._protocol.uri import URL, ascii_hostname, pack_hostname

if TYPE_CHECKING:
    import urllib.request
    from collections.abc import Iterable, Sequence
    from http.cookiejar import CookieJar
    from http.cookies import SimpleCookie

__all__ = ["SimpleCookieJar"]


class SimpleCookieJar:
    """Cookies that servers set in their handshakes, and cookies that the program adds.

    What servers set obeys path, domain, expiry and the Secure attribute. What the program
    adds with :meth:`add` or :meth:`set` is sent to the domain it names, and to the names
    below it, until it is replaced.

    Args:
        store: keeps the servers' cookies; an ``http.cookiejar.CookieJar`` of your own (one
            that is saved to a file, say), whose policy then decides. None makes one in
            memory when the first cookie comes.

    Attributes:
        jar: the cookies that the program added: ``".domain"`` to ``SimpleCookie``.
    """

    def __init__(self, store: CookieJar | None = None) -> None:
        self.jar: dict[str, SimpleCookie] = {}
        self._store = store

    def add(self, set_cookie: str | None) -> None:
        """Add the cookies of ``"name=value; name=value; domain=host"`` to those of the domain.

        Without a domain nothing is added, because nobody could tell whom to send it to.
        """
        for domain, cookie in self._parse(set_cookie):
            merged = _new_cookie()
            merged.update(self.jar.get(domain, {}))
            merged.update(cookie)
            self.jar[domain] = merged

    def set(self, set_cookie: str | None) -> None:
        """As :meth:`add`, but in place of what the domain had."""
        for domain, cookie in self._parse(set_cookie):
            self.jar[domain] = cookie

    def get(self, host: str | None) -> str:
        """The cookies for ``host`` as a Cookie field carries them, ``""`` when there are none."""
        if not host:
            return ""
        return self.header_for(URL(secure=True, host=host.lower(), port=443))

    def store(self, url: URL, set_cookies: Sequence[str]) -> None:
        """Keep what a server has set (RFC 6265 section 5.3).

        Args:
            url: the URL that was asked.
            set_cookies: the values of its Set-Cookie fields, one entry per field.
        """
        if not set_cookies:
            return
        request = _cookie_request(url)
        response = cast("Any", _CookieResponse(set_cookies))
        if self._store is None:
            self._store = _new_store()
        self._store.extract_cookies(response, request)

    def header_for(self, url: URL) -> str:
        """The value of the Cookie field for ``url`` (RFC 6265 section 5.4), or ``""``."""
        pairs = sorted(self._added_for(url.host))
        if self._store is not None:
            request = _cookie_request(url)
            self._store.add_cookie_header(request)
            pairs += filter(None, [request.get_header("Cookie")])
        return "; ".join(pairs)

    def _added_for(self, host: str) -> frozenset[str]:
        name = "." + host.lower().rstrip(".")
        return frozenset(
            f"{morsel.key}={morsel.coded_value}"
            for domain, cookie in list(self.jar.items())
            if name.endswith(domain)
            for morsel in cookie.values()
        )

    def _parse(self, set_cookie: str | None) -> Iterable[tuple[str, SimpleCookie]]:
        if not set_cookie:
            return []
        cookie = _new_cookie()
        cookie.load(set_cookie)
        # One line may carry several cookies; its domain, wherever it stands, is that of all.
        domains = {str(morsel["domain"]) for morsel in cookie.values()} - {""}
        return [("." + domain.lower().lstrip("."), cookie) for domain in sorted(domains)]


class _CookieResponse:
    """The little of a response that ``http.cookiejar`` looks at."""

    def __init__(self, set_cookies: Sequence[str]) -> None:
        self._set_cookies = list(set_cookies)

    def info(self) -> _CookieResponse:
        return self

    def get_all(self, name: str, default: list[str]) -> list[str]:
        return self._set_cookies if name == "Set-Cookie" else default


def _new_cookie() -> SimpleCookie:
    from http.cookies import SimpleCookie

    return SimpleCookie()


def _new_store() -> CookieJar:
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    # The module's own default would send a host's cookies to the names below it, too.
    policy = DefaultCookiePolicy(
        strict_domain=True, strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain
    )
    return CookieJar(policy)


def _cookie_request(url: URL) -> urllib.request.Request:
    from urllib.request import Request

    scheme = "https" if url.secure else "http"
    host = pack_hostname(ascii_hostname(url.host))
    return Request(f"{scheme}://{host}:{url.port}{url.resource}")
