"""TLS on a connected socket: from ``sslopt`` to an ``SSLContext`` and a finished handshake.

Server names follow RFC 6066 section 3 (SNI) and RFC 9525 (certificate checks), both done by
OpenSSL. Which address is dialled is decided in ``_http``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import re
import selectors
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import _logging, _tls_cache
from ._deadline import Deadline
from ._exceptions import (
    WebSocketArgumentException,
    WebSocketException,
    WebSocketTimeoutException,
)
from ._protocol.uri import ascii_hostname
from ._socket import wait_ready
from ._ssl_compat import HAVE_SSL, SSLError, SSLWantReadError, SSLWantWriteError, ssl
from ._tls_errors import explained
from ._transport import is_tls

CA_BUNDLE_VARIABLE = "WEBSOCKET_CLIENT_CA_BUNDLE"

KNOWN_OPTIONS = frozenset(
    {
        "ca_cert",
        "ca_cert_path",
        "ca_certs",
        "cert_chain",
        "cert_reqs",
        "certfile",
        "check_hostname",
        "ciphers",
        "context",
        "do_handshake_on_connect",
        "ecdh_curve",
        "fingerprint",
        "keyfile",
        "minimum_version",
        "password",
        "server_hostname",
        "ssl_version",
        "suppress_ragged_eofs",
    }
)
_CA_OPTIONS = ("ca_certs", "ca_cert", "ca_cert_path")

_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SHA256_SIZE = 32

_warned: set[str] = set()


class Settings(NamedTuple):
    """What ``sslopt`` comes to for one host; made before anything is dialled."""

    context: Any
    server_hostname: str
    suppress_ragged_eofs: bool
    handshake: bool
    fingerprints: frozenset[bytes] = frozenset()
    option: str = "sslopt"


def prepare(sslopt: Mapping[str, Any], hostname: str, option: str = "sslopt") -> Settings:
    """Check ``sslopt`` and build what the handshake needs.

    Args:
        sslopt: the options, see ``build_context``; besides
            ``server_hostname`` (str): the name to ask and to check for instead of the URL's,
            ``suppress_ragged_eofs`` (bool, True): a stream cut without TLS's own goodbye is
            an end of stream, not an error,
            ``do_handshake_on_connect`` (bool, True): False leaves the TLS handshake to the
            first read or write,
            ``fingerprint`` (str, or several): the server's certificate must have this SHA-256
            fingerprint, in hexadecimal digits with or without colons. It is checked on top of
            everything else; with ``cert_reqs`` CERT_NONE it is all that is checked.
        hostname: the host of the URL.
        option: the name under which the program gave ``sslopt``, for sentences.

    Raises:
        WebSocketArgumentException: an option has a value that can't be used.
        WebSocketException: this Python has no ``ssl`` module.
    """
    if not HAVE_SSL:
        raise WebSocketException("SSL not available: this Python was built without it.")
    for name in sslopt:
        _warn_once(
            name not in KNOWN_OPTIONS,
            f"sslopt[{name!r}] is not known and was ignored; known are "
            f"{', '.join(sorted(KNOWN_OPTIONS))}",
        )
    context = sslopt.get("context")
    fingerprints = _fingerprints(sslopt.get("fingerprint"))
    return Settings(
        context=_tls_cache.context_for(sslopt, build_context) if context is None else context,
        server_hostname=_server_name(sslopt.get("server_hostname") or hostname),
        suppress_ragged_eofs=bool(sslopt.get("suppress_ragged_eofs", True)),
        # A certificate can be compared only once it is there.
        handshake=bool(fingerprints) or bool(sslopt.get("do_handshake_on_connect", True)),
        fingerprints=fingerprints,
        option=option,
    )


def _fingerprints(given: Any) -> frozenset[bytes]:
    if given is None:
        return frozenset()
    texts: list[Any] = list(given) if isinstance(given, (list, tuple, set, frozenset)) else [given]  # pyright: ignore[reportUnknownArgumentType]
    found: set[bytes] = set()
    for text in texts:
        digits = re.sub(r"(?i)^sha-?256[:=]|[:\s]", "", text) if isinstance(text, str) else ""
        try:
            value = bytes.fromhex(digits)
        except ValueError:
            value = b""
        if len(value) != _SHA256_SIZE:
            raise _bad(
                "fingerprint",
                f"must be a SHA-256 fingerprint, 64 hexadecimal digits, not {text!r}",
            )
        found.add(value)
    if not found:
        raise _bad("fingerprint", "names no fingerprint at all")
    return frozenset(found)


def _warn_once(condition: bool, sentence: str) -> None:
    if condition and sentence not in _warned:
        _warned.add(sentence)
        _logging.warning(sentence)


def _server_name(hostname: object) -> str:
    if not isinstance(hostname, str):
        raise _bad("server_hostname", "must be a str")
    # Neither the zone of an IPv6 address nor the root dot stands in a certificate or in SNI.
    name = hostname.partition("%")[0] if ":" in hostname else hostname
    return ascii_hostname(name.strip("[]")).removesuffix(".")


def _bad(option: str, problem: str) -> WebSocketArgumentException:
    return WebSocketArgumentException(f"sslopt[{option!r}] {problem}")


def build_context(sslopt: Mapping[str, Any]) -> ssl.SSLContext:
    """A client's context: TLS 1.2 or newer, system trust and name checks unless told otherwise.

    Args:
        sslopt: any of
            ``cert_reqs``: ``ssl.CERT_REQUIRED`` (default) or ``ssl.CERT_NONE``, which switches
            the name check off as well,
            ``check_hostname`` (bool, True),
            ``ca_certs``, ``ca_cert``, ``ca_cert_path``: file (PEM) or folder (hashed) of
            authorities to trust instead of the system's; the environment variable
            WEBSOCKET_CLIENT_CA_BUNDLE stands in when none of them is given,
            ``certfile``, ``keyfile``, ``password``, or ``cert_chain``, a tuple of the three:
            the client's certificate,
            ``ciphers`` (OpenSSL cipher string), ``ecdh_curve`` (name),
            ``minimum_version``: the lowest version, as ``"TLSv1.3"`` or ``ssl.TLSVersion``,
            ``ssl_version``: an ``ssl.PROTOCOL_*`` constant, or an ``ssl.TLSVersion`` as the
            lowest version.

    Where no authority is named and the package ``truststore`` is installed, the operating
    system judges the certificate, on macOS and Windows with its own functions.

    Raises:
        WebSocketArgumentException: a value can't be used; the sentence names its key.
    """
    context = _new_context(sslopt)
    _set_versions(context, sslopt.get("ssl_version"))
    _set_minimum(context, sslopt.get("minimum_version"))
    # RFC 7301: a server that speaks HTTP/2 as well must not choose it for this connection.
    context.set_alpn_protocols(["http/1.1"])
    _set_verification(context, sslopt)
    if context.verify_mode != ssl.CERT_NONE:
        _load_authorities(context, sslopt)
    _load_client_certificate(context, sslopt)
    for option, setter in (
        ("ciphers", context.set_ciphers),
        ("ecdh_curve", context.set_ecdh_curve),
    ):
        value = sslopt.get(option)
        if value:
            _apply(option, value, setter, value)
    _log_keys(context)
    return context


def _new_context(sslopt: Mapping[str, Any]) -> ssl.SSLContext:
    own = any(sslopt.get(option) for option in _CA_OPTIONS) or os.environ.get(CA_BUNDLE_VARIABLE)
    # The classes that gevent and eventlet put in place call themselves without end under it.
    patched = ssl.SSLContext.__module__ != "ssl"
    if not (own or patched) and sslopt.get("cert_reqs") in (None, ssl.CERT_REQUIRED):
        with contextlib.suppress(ImportError):
            truststore = importlib.import_module("truststore")
            made: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            return made
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _set_minimum(context: ssl.SSLContext, version: Any) -> None:
    if version is None:
        return
    if isinstance(version, str):
        if version not in _VERSIONS:
            raise _bad("minimum_version", f"must be one of {', '.join(_VERSIONS)}: {version!r}")
        version = ssl.TLSVersion[version.replace(".", "_")]
    if not isinstance(version, ssl.TLSVersion):
        raise _bad("minimum_version", f'must be such as "TLSv1.3": {version!r}')
    _apply("minimum_version", version, setattr, context, "minimum_version", version)


def _apply(option: str, value: object, function: Callable[..., object], *args: Any) -> None:
    """Call into OpenSSL, and say which option it was that it did not like."""
    try:
        function(*args)
    except (OSError, ValueError, TypeError) as error:
        raise _bad(option, f"can't be used: {value!r} ({error})") from error


def _set_versions(context: ssl.SSLContext, version: Any) -> None:
    # Compared, for a system policy may demand more than TLS 1.2 already.
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    if version is None or version in (ssl.PROTOCOL_TLS, ssl.PROTOCOL_TLS_CLIENT):
        return
    if isinstance(version, ssl.TLSVersion):
        _apply("ssl_version", version, setattr, context, "minimum_version", version)
        return
    # A context made for PROTOCOL_TLSv1_2 would be deprecated; a range of one version is not.
    for only in ("TLSv1_2", "TLSv1_1", "TLSv1"):
        if version == getattr(ssl, f"PROTOCOL_{only}", object()):
            context.minimum_version = context.maximum_version = ssl.TLSVersion[only]
            return
    raise _bad(
        "ssl_version",
        f"is no version that a client can offer: {version!r}; leave it out for TLS 1.2 and newer",
    )


def _set_verification(context: ssl.SSLContext, sslopt: Mapping[str, Any]) -> None:
    cert_reqs = sslopt.get("cert_reqs")
    try:
        mode = ssl.CERT_REQUIRED if cert_reqs is None else ssl.VerifyMode(cert_reqs)
    except ValueError as error:
        raise _bad("cert_reqs", f"must be one of ssl.CERT_..., not {cert_reqs!r}") from error
    check_hostname = sslopt.get("check_hostname")
    # In this order: a context refuses CERT_NONE as long as it checks names.
    context.check_hostname = mode != ssl.CERT_NONE and (
        check_hostname is None or bool(check_hostname)
    )
    context.verify_mode = mode


def _load_authorities(context: ssl.SSLContext, sslopt: Mapping[str, Any]) -> None:
    given = [(option, sslopt[option]) for option in _CA_OPTIONS if sslopt.get(option)]
    for option, path in given:
        _load_ca(context, option, path)
    if given:
        return
    path = os.environ.get(CA_BUNDLE_VARIABLE)
    if path and os.path.exists(path):
        _load_ca(context, CA_BUNDLE_VARIABLE, path)
        return
    _warn_once(
        bool(path),
        f"{CA_BUNDLE_VARIABLE} names no file or folder and was ignored: {path!r}",
    )
    context.load_default_certs()


def _load_ca(context: ssl.SSLContext, option: str, path: Any) -> None:
    try:
        where = "capath" if os.path.isdir(path) else "cafile"
        context.load_verify_locations(**{where: path})
    except (OSError, ValueError, TypeError) as error:
        name = option if option == CA_BUNDLE_VARIABLE else f"sslopt[{option!r}]"
        raise WebSocketArgumentException(
            f"{name} is no file or folder of certificates: {path!r} ({error})"
        ) from error


def _load_client_certificate(context: ssl.SSLContext, sslopt: Mapping[str, Any]) -> None:
    certfile = sslopt.get("certfile")
    if certfile:
        parts: list[Any] = [certfile, sslopt.get("keyfile"), sslopt.get("password")]
        # The password stays out of the sentence.
        _apply("certfile", certfile, context.load_cert_chain, *parts)
    elif sslopt.get("keyfile"):
        raise _bad("keyfile", "needs sslopt['certfile'], the certificate of that key")
    chain: Any = sslopt.get("cert_chain")
    if chain:
        parts = [chain] if isinstance(chain, str) else list(chain)
        _apply("cert_chain", parts[0], context.load_cert_chain, *parts)


def _log_keys(context: ssl.SSLContext) -> None:
    """Honour SSLKEYLOGFILE, as Python's default context does."""
    path = os.environ.get("SSLKEYLOGFILE")
    if not path or sys.flags.ignore_environment:
        return
    try:
        context.keylog_filename = path
    except OSError as error:
        _warn_once(True, f"SSLKEYLOGFILE was ignored: {path!r} ({error})")


def wrap(sock: Any, settings: Settings, deadline: Deadline) -> Any:
    """Make the TLS handshake on a connected socket.

    Args:
        sock: the socket; it belongs to the result, and is closed when this fails. One that is
            TLS already (with a proxy) carries the new layer inside.
        settings: from ``prepare``.
        deadline: for the whole handshake, whatever the pieces that it arrives in.

    Raises:
        WebSocketTimeoutException: the deadline has passed.
        ssl.SSLError: the handshake failed; its text says which check it was and what to do.
        OSError: the connection failed.
    """
    try:
        sock = _wrapped(sock, settings, deadline)
        deadline.announce(sock)
        if settings.handshake:
            _shake_hands(sock, deadline)
            _check_fingerprint(sock, settings)
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError) and not isinstance(error, WebSocketTimeoutException):
            raise deadline.error() from error
        if isinstance(error, (SSLError, ConnectionError)):
            explained(error, settings.server_hostname, settings.option)
        raise
    return sock


def _wrapped(sock: Any, settings: Settings, deadline: Deadline) -> Any:
    if is_tls(sock):
        from ._nested_tls import NestedTLSSocket

        return NestedTLSSocket(
            sock,
            settings.context,
            server_hostname=settings.server_hostname,
            suppress_ragged_eofs=settings.suppress_ragged_eofs,
            session=_tls_cache.take_session(settings.context, settings.server_hostname),
        )
    if not isinstance(sock, socket.socket):
        raise WebSocketArgumentException(
            f"TLS needs a real socket, and socket_factory returned a {type(sock).__name__}"
        )
    sock.settimeout(deadline.remaining())
    # The handshake is not made by wrap_socket, which would keep the wrapped socket to itself
    # when it fails.
    return settings.context.wrap_socket(
        sock,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=settings.suppress_ragged_eofs,
        server_hostname=settings.server_hostname,
        session=_tls_cache.take_session(settings.context, settings.server_hostname),
    )


def _shake_hands(sock: Any, deadline: Deadline) -> None:
    # OpenSSL takes a while until it waits, and would not notice a Ctrl-C of that time. So it
    # never waits by itself. (To eventlet's sockets, a timeout of 0 does not say that.)
    sock.setblocking(False)
    while True:
        try:
            sock.do_handshake()
            return
        except SSLWantReadError:
            events = selectors.EVENT_READ
        except SSLWantWriteError:
            events = selectors.EVENT_WRITE
        if not wait_ready(sock, events, deadline.remaining()):
            raise deadline.error()


def _check_fingerprint(sock: Any, settings: Settings) -> None:
    if not settings.fingerprints:
        return
    found = hashlib.sha256(sock.getpeercert(True) or b"").digest()
    if found not in settings.fingerprints:
        error = ssl.SSLCertVerificationError(
            1,
            f"The certificate of {settings.server_hostname!r} has another fingerprint than "
            f"sslopt['fingerprint'] demands: {found.hex()}",
        )
        error.verify_code, error.verify_message = 0, "fingerprint mismatch"
        raise error
