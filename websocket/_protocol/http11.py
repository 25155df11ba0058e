"""HTTP/1.1 message heads and bounded bodies, without I/O (RFC 9110, RFC 9112).

Bytes go in through ``feed``; heads, a bounded body and the bytes behind it come out. Header
fields live in ``fields``; what a WebSocket makes of a head is decided in ``handshake``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, NoReturn

from .._exceptions import WebSocketConnectionClosedException, WebSocketHandshakeException
from .fields import Headers, check_field, is_token, render_head

__all__ = [
    "MAX_BODY_SIZE",
    "MAX_HEADER_LINES",
    "MAX_HEAD_SIZE",
    "MAX_INTERIM_RESPONSES",
    "Headers",
    "RequestHead",
    "RequestReader",
    "ResponseHead",
    "ResponseReader",
    "check_field",
    "is_token",
    "render_head",
]

MAX_HEAD_SIZE: Final = 65536
MAX_HEADER_LINES: Final = 256
MAX_BODY_SIZE: Final = 65536
MAX_INTERIM_RESPONSES: Final = 16

_MAX_CHUNK_LINE: Final = 4096
_MAX_SHOWN: Final = 80

_STATUS_LINE: Final = re.compile(rb"HTTP/(\d)\.(\d) ([1-9]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/(\d)\.(\d)")
# The space around the value is stripped afterwards: matched here, it would cost quadratic time.
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00]*)?")
_CONTENT_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_SECRET: Final = re.compile(rb"(?is)\A((?:proxy-)?authorization|(?:set-)?cookie)\s*:.*")
_REQUEST_START: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z\r\n]")


class ResponseHead(NamedTuple):
    """Status line and header fields of a response."""

    version: str
    status: int
    reason: str
    headers: Headers

    @property
    def text(self) -> str:
        """The head as lines, for traces; without the empty line that ends it."""
        start = f"HTTP/{self.version} {self.status} {self.reason}".rstrip()
        return "\n".join([start, *(f"{name}: {value}" for name, value in self.headers.pairs)])


class RequestHead(NamedTuple):
    """Request line and header fields of a request."""

    method: str
    target: str
    version: str
    headers: Headers


class _HeadReader:
    """What requests and responses share: lines within limits, then fields.

    Lines are taken as they complete, so that a bad one fails at once and not at a timeout.
    """

    _what = "message"

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._head_size = 0
        self._start_seen = False
        self._pairs: list[tuple[str, str]] = []
        # Not bound to the reader, which would be a cycle that only the collector can free.
        self._step: Callable[[Any], bool] = _HeadReader._read_head
        self._done = False
        self._discard = False

    @property
    def done(self) -> bool:
        """Whether the message is complete, or as much of it as is kept."""
        return self._done

    @property
    def rest(self) -> bytes:
        """Bytes that came behind the message."""
        return bytes(self._buffer) if self._done else b""

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes as they were received, cut anywhere.

        Raises:
            WebSocketHandshakeException: the bytes break the grammar or a limit.
        """
        if self._discard:
            return
        self._buffer += data
        while not self._done and self._step(self):
            pass

    def _read_head(self) -> bool:
        """Read the next line of the head; False when more bytes are needed."""
        if not self._start_seen and self._buffer:
            self._check_first_bytes()
        line = self._take_line()
        if line is None:
            return False
        if not self._start_seen:
            self._start_seen = self._start_line(line)
        elif line:
            self._field_line(line)
        else:
            headers = Headers(self._pairs)
            self._pairs = []
            self._start_seen = False
            self._head_size = 0
            self._head_complete(headers)
        return True

    def _take_line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._scanned)
        size = self._head_size + (len(self._buffer) if end < 0 else end + 1)
        if size > MAX_HEAD_SIZE:
            self._fail(f"The head of the {self._what} is larger than {MAX_HEAD_SIZE} bytes")
        if end < 0:
            self._scanned = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        self._head_size = size
        # RFC 9112 section 2.2 lets a recipient take a bare LF as the end of a line. Small
        # devices send it, and nobody behind this reader could see other lines than it does.
        return line[:-1] if line.endswith(b"\r") else line

    def _field_line(self, line: bytes) -> None:
        if line[:1] in (b" ", b"\t"):
            # RFC 9112 section 5.2: obsolete, and a recipient may refuse it.
            self._fail("A folded header line (obs-fold) is not allowed", line)
        match = _FIELD.fullmatch(line)
        if match is None:
            self._fail("A malformed header line", line)
        if len(self._pairs) >= MAX_HEADER_LINES:
            self._fail(f"The {self._what} has more than {MAX_HEADER_LINES} header lines")
        self._pairs.append((match[1].decode("ascii"), _decode(match[2].strip(b" \t"))))

    def _check_first_bytes(self) -> None:
        raise NotImplementedError

    def _start_line(self, line: bytes) -> bool:
        raise NotImplementedError

    def _head_complete(self, headers: Headers) -> None:
        raise NotImplementedError

    def _fail(self, problem: str, line: bytes | bytearray | None = None) -> NoReturn:
        raise WebSocketHandshakeException(_sentence(problem, line))


class ResponseReader(_HeadReader):
    """Reads one response: interim responses are skipped, the body is bounded.

    A 101 has no body: the bytes behind its head belong to the WebSocket stream and are
    found in ``rest``. With ``connect=True`` (the answer to a CONNECT request) that holds
    for each 2xx as well.

    A broken or cut body never raises: what came is kept in ``body`` and the reader is
    ``done``, because the status says more than the framing error would.
    """

    _what = "response"

    def __init__(self, *, connect: bool = False) -> None:
        super().__init__()
        self.head: ResponseHead | None = None
        self.truncated = False
        self._connect = connect
        self._status = (b"", 0, "")
        self._interim = 0
        self._body = bytearray()
        self._remaining = 0

    @property
    def body(self) -> bytes:
        """The body so far, at most ``MAX_BODY_SIZE`` bytes, transfer coding removed."""
        return bytes(self._body)

    def feed_eof(self) -> None:
        """Say that the stream has ended.

        Raises:
            WebSocketConnectionClosedException: it ended before a head was complete.
        """
        if self._done:
            return
        if self.head is None:
            got = "no byte of it" if not self._start_seen and not self._buffer else "a part of it"
            raise WebSocketConnectionClosedException(
                "Connection to remote host was lost: the response to the opening handshake "
                f"did not come to its end, {got} was received."
            )
        self._finish()

    def _check_first_bytes(self) -> None:
        # A peer that speaks another protocol may never send a line end.
        if not b"HTTP/".startswith(bytes(self._buffer[:5])):
            self._fail("The server did not answer in HTTP", self._buffer)

    def _start_line(self, line: bytes) -> bool:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            self._fail("A malformed status line", line)
        if match[1] != b"1":
            self._fail("The server answered in another HTTP version than 1.1", line)
        version = match[1] + b"." + match[2]
        self._status = (version, int(match[3]), _decode(match[4] or b"").strip())
        return True

    def _head_complete(self, headers: Headers) -> None:
        version, status, reason = self._status
        head = ResponseHead(version.decode("ascii"), status, reason, headers)
        if status < 200 and status != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                self._fail(f"The server sent more than {MAX_INTERIM_RESPONSES} interim responses")
            return
        self.head = head
        if status == 101 or (self._connect and status < 300):
            self._done = True
        elif status in (204, 304):
            self._finish()
        else:
            self._choose_body(headers)

    def _choose_body(self, headers: Headers) -> None:
        """How the body ends (RFC 9112 section 6.3)."""
        if "transfer-encoding" in headers:
            chunked = headers.tokens("transfer-encoding")[-1:]
            is_chunked = bool(chunked) and chunked[0].lower() == "chunked"
            reader = ResponseReader
            self._step = reader._chunk_size if is_chunked else reader._until_eof
        elif "content-length" in headers:
            lengths = set(headers.tokens("content-length"))
            length = lengths.pop() if len(lengths) == 1 else ""
            if not _CONTENT_LENGTH.fullmatch(length):
                self._fail(
                    "A Content-Length that makes no sense", headers["content-length"].encode()
                )
            self._remaining = int(length)
            self._step = ResponseReader._counted
        else:
            self._step = ResponseReader._until_eof

    def _counted(self) -> bool:
        if self._keep(self._remaining):
            self._finish()
        return False

    def _until_eof(self) -> bool:
        self._keep(len(self._buffer))
        return False

    def _chunk_size(self) -> bool:
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned > _MAX_CHUNK_LINE:
                self._cut_short()
            return False
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        self._scanned = 0
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None or end > _MAX_CHUNK_LINE:
            self._cut_short()
            return False
        self._remaining = int(match[1], 16)
        if not self._remaining:
            # Trailer fields are of no use to anyone here.
            self._finish()
            return False
        self._step = ResponseReader._chunk_data
        return True

    def _chunk_data(self) -> bool:
        if not self._keep(self._remaining):
            return False
        self._step = ResponseReader._chunk_end
        return True

    def _chunk_end(self) -> bool:
        for ending in (b"\r\n", b"\n"):
            if self._buffer.startswith(ending):
                del self._buffer[: len(ending)]
                self._step = ResponseReader._chunk_size
                return True
        if self._buffer and bytes(self._buffer) != b"\r":
            self._cut_short()
        return False

    def _keep(self, wanted: int) -> bool:
        """Move up to ``wanted`` bytes to the body; whether that many came."""
        taken = min(wanted, len(self._buffer))
        room = MAX_BODY_SIZE - len(self._body)
        self._body += self._buffer[: min(taken, room)]
        del self._buffer[:taken]
        self._remaining = wanted - taken
        if taken > room:
            # Nothing more will be kept, so there is nothing to wait for.
            self._cut_short()
            return False
        return not self._remaining

    def _cut_short(self) -> None:
        self.truncated = True
        self._finish()

    def _finish(self) -> None:
        # What follows a body is not for anyone: the connection is closed after it.
        self._buffer.clear()
        self._discard = True
        self._done = True

    def _fail(self, problem: str, line: bytes | bytearray | None = None) -> NoReturn:
        head = self.head
        raise WebSocketHandshakeException(
            _sentence(problem, line),
            status_code=self._status[1] or None,
            resp_headers=head.headers if head else Headers(self._pairs) or None,
        )


class RequestReader(_HeadReader):
    """Reads one request head; a body, which an opening handshake never has, stays in ``rest``."""

    _what = "request"

    def __init__(self) -> None:
        super().__init__()
        self.head: RequestHead | None = None
        self._request = ("", "", "")
        self._blank_lines = 0

    def feed_eof(self) -> None:
        """Say that the stream has ended.

        Raises:
            WebSocketConnectionClosedException: it ended before the head was complete.
        """
        if not self._done:
            raise WebSocketConnectionClosedException(
                "Connection to remote host was lost before its request was complete."
            )

    def _check_first_bytes(self) -> None:
        if not _REQUEST_START.match(self._buffer):
            self._fail("The client did not send an HTTP request", self._buffer)

    def _start_line(self, line: bytes) -> bool:
        if not line and not self._blank_lines:
            # RFC 9112 section 2.2: a server should ignore at least one empty line here.
            self._blank_lines += 1
            return False
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            self._fail("A malformed request line", line)
        method, target, major, minor = (part.decode("ascii") for part in match.groups())
        self._request = (method, target, f"{major}.{minor}")
        return True

    def _head_complete(self, headers: Headers) -> None:
        self.head = RequestHead(*self._request, headers)
        self._done = True


def _sentence(problem: str, line: bytes | bytearray | None) -> str:
    if line is None:
        return f"{problem}."
    shown = _SECRET.sub(rb"\1: ***", bytes(line[:_MAX_SHOWN]))
    return f"{problem}: {shown!r}{'...' if len(line) > _MAX_SHOWN else ''}"


def _decode(value: bytes) -> str:
    """Field values are UTF-8 in practice; anything else stays readable as Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
