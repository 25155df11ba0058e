"""``connect`` and ``connect_listener``: the ways into the asyncio face."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ._connection import Connection
from ._listener import Listener
from ._open import open_connection
from ._options import Options, settle

if TYPE_CHECKING:
    from typing_extensions import Unpack

_L = TypeVar("_L", bound=Listener)


class connect:
    """Connect to ``url`` (``ws://`` or ``wss://``) and do the opening handshake.

    ::

        async with connect(url) as ws:  # closed at the end of the block
            ...
        ws = await connect(url)  # close it yourself

    Parameters:
        url: where to connect.
        **options: see ``Options``, and the documentation's page on asyncio.

    Raises:
        TypeError: there is no such option.
        WebSocketURLException, WebSocketArgumentException: nothing was sent.
        WebSocketAddressException, OSError, WebSocketProxyException: no connection.
        WebSocketTimeoutException: the time was over first.
        WebSocketBadStatusException: the server refused (status, headers and body are in
            the exception).
        WebSocketHandshakeException: the server's answer is no opening handshake.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        self.url = url
        self._settings = settle(options)
        self._connection: Connection | None = None

    async def _connect(self) -> Connection:
        opened = await open_connection(self.url, self._settings)
        connection = Connection(opened, self._settings)
        opened.hand_over(connection._driver)
        return connection

    def __await__(self) -> Generator[Any, None, Connection]:
        return self._connect().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._connect()
        return self._connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            await self._connection.close()


async def connect_listener(listener: _L, url: str, **options: Unpack[Options]) -> _L:
    """Connect, and have the methods of ``listener`` called from then on.

    Parameters:
        listener: an object of your subclass of ``Listener``.
        url, **options: as for ``connect``; ``max_queue`` and ``max_queue_size`` have no
            meaning, as there is no queue.

    Returns:
        the listener, connected. ``on_open`` and messages that came along with the handshake
        were handed to it already.

    Raises:
        as ``connect`` does.
    """
    listener._check_new()
    settings = settle(options)
    opened = await open_connection(url, settings)
    listener._open(opened, settings)
    opened.hand_over(listener._driver, listener._opened)
    return listener
