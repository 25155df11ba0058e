"""Credentials for the server: the options ``auth`` and ``netrc`` as an Authorization field.

Credentials for proxies are in ``_protocol.tunnel`` and ``_protocol.socks``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

from ._exceptions import WebSocketArgumentException
from ._protocol.handshake import basic_credentials
from ._protocol.uri import URL


def authorization_for(
    url: URL, auth: Any = None, netrc: bool | str | os.PathLike[str] | None = None
) -> str | None:
    """The value of the Authorization field, None where the options name none.

    Args:
        url: where the handshake goes.
        auth: a tuple of user name and password (Basic, RFC 7617), a str that is the whole
            value (``"Bearer <token>"``, RFC 6750), or a callable that is given the URL as
            str and returns one of the two, or None; it is called for each handshake.
        netrc: True looks the host up in ``~/.netrc`` (or the file that the environment
            variable NETRC names), a path in that file. It counts where neither ``auth`` nor
            the URL have credentials.

    Raises:
        WebSocketArgumentException: one of the two can't be used. No sentence repeats a
            credential.
    """
    found: Any = auth(str(url)) if callable(auth) else auth
    if found is None and url.userinfo is None and netrc:
        found = _from_netrc(url, netrc)
    if found is None or isinstance(found, str):
        return found
    kind = type(found).__name__
    pair = list(cast("Sequence[Any]", found)) if isinstance(found, (tuple, list)) else []
    if len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise WebSocketArgumentException(
            "auth must be (user name, password), the value of the Authorization header as str, "
            f"or a callable that returns one of them, not a {kind}"
        )
    return basic_credentials(*pair)


def _from_netrc(url: URL, netrc: bool | str | os.PathLike[str]) -> tuple[str, str] | None:
    import netrc as reader

    path = os.environ.get("NETRC") if isinstance(netrc, bool) else os.fspath(netrc)
    try:
        entry = reader.netrc(path).authenticators(url.host)
    except FileNotFoundError:
        if netrc is True:
            # Asked for in general; a file that is named must be there.
            return None
        raise WebSocketArgumentException(f"The netrc file {path!r} does not exist") from None
    except (OSError, reader.NetrcParseError) as error:
        # The parser quotes the line that it does not understand, which may be a password.
        reason = error.strerror if isinstance(error, OSError) else f"line {error.lineno}"
        raise WebSocketArgumentException(f"The netrc file can't be read: {reason}") from None
    if entry is None:
        return None
    login, account, password = entry
    return login or account or "", password or ""
