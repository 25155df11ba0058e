"""What TLS connections hand on to later ones: contexts that cost time to make, and sessions.

A session (RFC 8446 section 2.2, RFC 5077) spares a reconnect most of the handshake. It is
offered only by the context that it came from, for the same name and the same checks, and once.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from ._ssl_compat import HAVE_SSL, ssl

_MAX_CONTEXTS: Final = 8
_MAX_SESSIONS: Final = 64

# Options of one connection, which make no difference for its context.
_PER_CONNECTION: Final = frozenset(
    {"do_handshake_on_connect", "fingerprint", "server_hostname", "suppress_ragged_eofs"}
)
_FILES: Final = ("ca_certs", "ca_cert", "ca_cert_path", "certfile", "keyfile", "cert_chain")
_VARIABLES: Final = ("WEBSOCKET_CLIENT_CA_BUNDLE", "SSLKEYLOGFILE", "SSL_CERT_FILE", "SSL_CERT_DIR")

_lock = threading.Lock()
_contexts: OrderedDict[Hashable, ssl.SSLContext] = OrderedDict()
_sessions: weakref.WeakKeyDictionary[ssl.SSLContext, OrderedDict[Hashable, Any]] = (
    weakref.WeakKeyDictionary()
)


def context_for(
    sslopt: Mapping[str, Any], build: Callable[[Mapping[str, Any]], ssl.SSLContext]
) -> ssl.SSLContext:
    """The context for these options, made by ``build`` if there is none yet.

    One that was made before is used again only as long as all files that it was made from are
    what they were.
    """
    key = _key_of(sslopt)
    if key is None:
        return build(sslopt)
    with _lock:
        context = _contexts.get(key)
    if context is None:
        context = build(sslopt)
        if type(context) is not ssl.SSLContext:
            # truststore's has a lock that it holds for the whole of a handshake: a slow server
            # would keep connections to others waiting.
            return context
        with _lock:
            _contexts[key] = context
            while len(_contexts) > _MAX_CONTEXTS:
                _contexts.popitem(last=False)
    return context


def _key_of(sslopt: Mapping[str, Any]) -> Hashable | None:
    options = {name: value for name, value in sslopt.items() if name not in _PER_CONNECTION}
    paths = [os.environ.get(name) for name in _VARIABLES]
    defaults = ssl.get_default_verify_paths()
    stamps = [_stamp(path) for path in (*paths, defaults.cafile, defaults.capath)]
    for name in _FILES:
        value: Any = options.get(name)
        parts: Any = value if isinstance(value, (tuple, list)) else [value]  # pyright: ignore[reportUnknownVariableType]
        stamps += [_stamp(part) for part in parts]
    key = (frozenset(options.items()) if _hashable(options) else None, tuple(paths), tuple(stamps))
    return key if key[0] is not None else None


def _hashable(options: Mapping[str, Any]) -> bool:
    try:
        hash(frozenset(options.items()))
    except TypeError:
        return False
    return True


def _stamp(path: Any) -> Hashable:
    if not path:
        return None
    try:
        status = os.stat(path)
    except (OSError, ValueError, TypeError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _session_key(context: ssl.SSLContext, name: str | None) -> Hashable:
    return name, context.verify_mode, context.check_hostname


def take_session(context: Any, name: str) -> Any:
    """A session to resume, which then is no more in the store; None if there is none."""
    if type(context) is not ssl.SSLContext:
        return None
    with _lock:
        store = _sessions.get(context)
        return store.pop(_session_key(context, name), None) if store else None


def keep_session(sock: Any) -> None:
    """Remember the session of a TLS connection that has proved to work.

    Its tickets come behind the handshake in TLS 1.3, so this is for later: when the server's
    first answer is there.
    """
    context = getattr(sock, "context", None)
    # A context that judges certificates by itself must see each handshake whole.
    if not HAVE_SSL or type(context) is not ssl.SSLContext:
        return
    session = sock.session
    if session is None or (sock.version() == "TLSv1.3" and not session.has_ticket):
        return
    with _lock:
        store = _sessions.setdefault(context, OrderedDict())
        store[_session_key(context, sock.server_hostname)] = session
        while len(store) > _MAX_SESSIONS:
            store.popitem(last=False)
