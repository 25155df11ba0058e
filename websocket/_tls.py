"""TLS on a connected socket: from ``sslopt`` to an ``SSLContext`` and a finished handshake.

Server names follow RFC 6066 section 3 (SNI) and RFC 9525 (certificate checks), both done by
OpenSSL. Which address is dialled is decided in ``_http``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import _logging
from ._exceptions import (
    WebSocketArgumentException,
    WebSocketException,
    WebSocketTimeoutException,
)
from ._protocol.uri import ascii_hostname
from ._socket import Deadline, add_note
from ._ssl_compat import HAVE_SSL, SSLEOFError, SSLError, ssl

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
        "keyfile",
        "password",
        "server_hostname",
        "ssl_version",
        "suppress_ragged_eofs",
    }
)
_CA_OPTIONS = ("ca_certs", "ca_cert", "ca_cert_path")

_warned: set[str] = set()


class Settings(NamedTuple):
    """What ``sslopt`` comes to for one host; made before anything is dialled."""

    context: Any
    server_hostname: str
    suppress_ragged_eofs: bool
    handshake: bool


def prepare(sslopt: Mapping[str, Any], hostname: str) -> Settings:
    """Check ``sslopt`` and build what the handshake needs.

    Args:
        sslopt: the options, see ``build_context``; besides
            ``server_hostname`` (str): the name to ask and to check for instead of the URL's,
            ``suppress_ragged_eofs`` (bool, True): a stream cut without TLS's own goodbye is
            an end of stream, not an error,
            ``do_handshake_on_connect`` (bool, True): False leaves the TLS handshake to the
            first read or write.
        hostname: the host of the URL.

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
    return Settings(
        context=build_context(sslopt) if context is None else context,
        server_hostname=_server_name(sslopt.get("server_hostname") or hostname),
        suppress_ragged_eofs=bool(sslopt.get("suppress_ragged_eofs", True)),
        handshake=bool(sslopt.get("do_handshake_on_connect", True)),
    )


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
            ``ssl_version``: an ``ssl.PROTOCOL_*`` constant, or an ``ssl.TLSVersion`` as the
            lowest version.

    Raises:
        WebSocketArgumentException: a value can't be used; the sentence names its key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_versions(context, sslopt.get("ssl_version"))
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


def wrap(sock: Any, settings: Settings, deadline: Deadline) -> ssl.SSLSocket:
    """Make the TLS handshake on a connected socket.

    Args:
        sock: the socket; it belongs to the result, and is closed when this fails.
        settings: from ``prepare``.
        deadline: for the whole handshake, whatever the pieces that it arrives in.

    Raises:
        WebSocketTimeoutException: the deadline has passed.
        ssl.SSLError: the handshake failed; a note (Python 3.11 and newer) says what to do.
        OSError: the connection failed.
    """
    try:
        sock.settimeout(deadline.remaining())
        # The handshake is not made by wrap_socket, which would keep the wrapped socket to
        # itself when it fails.
        sock = settings.context.wrap_socket(
            sock,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=settings.suppress_ragged_eofs,
            server_hostname=settings.server_hostname,
        )
        deadline.announce(sock)
        if settings.handshake:
            # OpenSSL's wrapper counts the socket's timeout over the whole handshake.
            sock.settimeout(deadline.remaining())
            sock.do_handshake()
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError) and not isinstance(error, WebSocketTimeoutException):
            raise deadline.error() from error
        if isinstance(error, (SSLError, ConnectionError)):
            add_note(error, _advice(error, settings))
        raise
    wrapped: ssl.SSLSocket = sock
    return wrapped


def _advice(error: OSError, settings: Settings) -> str:
    name = settings.server_hostname
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"The certificate of {name!r} was not accepted. To trust an authority of your own, "
            "set sslopt={'ca_certs': its file}; to connect under another name than the "
            "certificate's, sslopt={'server_hostname': that name}."
        )
    if isinstance(error, (SSLEOFError, ConnectionError)):
        return f"{name!r} closed the connection during the TLS handshake; does this port speak TLS?"
    if getattr(error, "reason", None) in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"What {name!r} answered is not TLS; use ws:// if this port speaks plain WebSocket."
    return f"The TLS handshake with {name!r} failed."
