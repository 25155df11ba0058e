"""TLS inside of TLS: a wss connection through a proxy that is itself reached over TLS.

Python's TLS sockets work on descriptors only, so the inner layer runs on memory and its
records are carried by the outer socket. How TLS is set up stands in ``_tls``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ._socket import shut_down
from ._ssl_compat import SSLWantReadError, SSLWantWriteError, ssl
from ._transport import TimeoutBeside

_T = TypeVar("_T")
_READ_SIZE: Final = 65536
# A record begins with its kind, version and length (RFC 8446 section 5.1).
_HEADER_SIZE: Final = 5
_KINDS: Final = range(20, 25)
_MAJOR_VERSION: Final = 3
# Bytes that one call seals at most: what the outer socket does not take is kept in memory.
_WRITE_SIZE: Final = 65536


class NestedTLSSocket(TimeoutBeside):
    """The inner layer. It behaves as a non-blocking ``ssl.SSLSocket`` does.

    As there, a call that has to wait raises ``ssl.SSLWantReadError`` or
    ``ssl.SSLWantWriteError`` for what ``fileno()`` is to be waited for, and a ``send`` that
    has raised is to be repeated with the same bytes.

    Args:
        outer: the socket that carries the records; it is made non-blocking, and belongs to
            this object.
        context: of the inner layer.
        server_hostname: the name to ask and to check for.
        suppress_ragged_eofs: as ``ssl.SSLContext.wrap_socket`` has it.
        session: of an earlier connection, or None.
    """

    def __init__(
        self,
        outer: ssl.SSLSocket,
        context: ssl.SSLContext,
        *,
        server_hostname: str,
        suppress_ragged_eofs: bool = True,
        session: Any = None,
    ) -> None:
        self._timeout = outer.gettimeout()
        outer.setblocking(False)
        self.outer = outer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._inner = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname, session=session
        )
        self._ragged = suppress_ragged_eofs
        # What the outer layer has brought and is no whole record yet.
        self._received = bytearray()
        self._unsent = b""
        self._sealed = 0

    # What a connection does

    def do_handshake(self) -> None:
        self._run(self._inner.do_handshake)
        self._flush()

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        size = nbytes or len(buffer)
        try:
            count: Any = self._run(lambda: self._inner.read(size, buffer))
            # An answer to new keys, say. Nobody waits for it, and what was read must not be lost.
            with contextlib.suppress(SSLWantReadError, SSLWantWriteError):
                self._flush()
            return int(count)
        except ssl.SSLEOFError:
            if self._ragged:
                return 0
            raise
        except ssl.SSLZeroReturnError:
            return 0

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        data = bytearray(bufsize)
        return bytes(data[: self.recv_into(data)])

    def send(self, data: Any, flags: int = 0) -> int:
        if not self._sealed:
            with memoryview(data) as view:
                self._sealed = self._run(lambda: self._inner.write(view[:_WRITE_SIZE]))
        self._flush()
        sent, self._sealed = self._sealed, 0
        return sent

    def pending(self) -> int:
        """Bytes that can be got without waiting, or 0."""
        waiting = self._inner.pending() or self.outer.pending()
        return waiting or (len(self._received) if self._record_size() else 0)

    def unwrap(self) -> Any:
        """Say goodbye within the inner layer."""
        self._run(self._inner.unwrap)
        return self.outer

    def shutdown(self, how: int) -> None:
        shut_down(self.outer, how)

    def close(self) -> None:
        self.outer.close()

    def fileno(self) -> int:
        return self.outer.fileno()

    # What is known of it

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The server's certificate, see ``ssl.SSLSocket.getpeercert``."""
        return self._inner.getpeercert(binary_form)

    def version(self) -> str | None:
        return self._inner.version()

    def cipher(self) -> Any:
        return self._inner.cipher()

    def selected_alpn_protocol(self) -> str | None:
        return self._inner.selected_alpn_protocol()

    @property
    def context(self) -> ssl.SSLContext:
        return self._inner.context

    @property
    def server_hostname(self) -> str | None:
        return self._inner.server_hostname

    @property
    def session(self) -> Any:
        return self._inner.session

    @property
    def session_reused(self) -> bool:
        return bool(self._inner.session_reused)

    def getpeername(self) -> Any:
        return self.outer.getpeername()

    def getsockname(self) -> Any:
        return self.outer.getsockname()

    # Between the layers

    def _run(self, operation: Callable[[], _T]) -> _T:
        """Call into the inner layer, bringing it the records that it asks for."""
        while True:
            try:
                return operation()
            except SSLWantReadError:
                self._flush()
                self._bring_record()
            except ssl.SSLError:
                # An alert that tells the peer why.
                with contextlib.suppress(OSError):
                    self._flush()
                raise

    def _flush(self) -> None:
        """Send what the inner layer has sealed."""
        self._unsent += self._outgoing.read()
        while self._unsent:
            self._unsent = self._unsent[self.outer.send(self._unsent) :]

    def _record_size(self) -> int:
        """Size of the record that has come whole, 0 if none has."""
        received = self._received
        if len(received) < _HEADER_SIZE:
            return 0
        if received[0] not in _KINDS or received[1] != _MAJOR_VERSION:
            # No record at all: its "length" is nothing to wait for, OpenSSL says what it is.
            return len(received)
        size = _HEADER_SIZE + int.from_bytes(received[3:_HEADER_SIZE], "big")
        return size if len(received) >= size else 0

    def _bring_record(self) -> None:
        """Hand one whole record to the inner layer, so that it is never left half fed."""
        while not (size := self._record_size()):
            data = self.outer.recv(_READ_SIZE)
            if not data:
                self._incoming.write(bytes(self._received))
                self._received.clear()
                self._incoming.write_eof()
                return
            self._received += data
        self._incoming.write(bytes(self._received[:size]))
        del self._received[:size]
