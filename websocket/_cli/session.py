"""One run of ``wsdump`` on an open connection: lines out, messages in, and how it ends."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from .._core import WebSocket
from .._exceptions import (
    WebSocketConnectionClosedException,
    WebSocketException,
    WebSocketTimeoutException,
)
from .._logging import enableTrace
from .._protocol.frames import CLOSE_NO_STATUS, OP_BINARY, OP_CLOSE, OP_TEXT, OPCODE_NAMES
from .arguments import EXIT_INTERRUPTED, EXIT_LOST, EXIT_OK, EXIT_USAGE
from .console import InputEnded, InteractiveConsole, NonInteractive
from .text import display_payload, escape, one_line

OPCODE_DATA: Final = (OP_TEXT, OP_BINARY)
CLOSE_TIMEOUT: Final = 3.0
_NORMAL_CODES: Final = (1000, 1001, CLOSE_NO_STATUS)
_LINES_AHEAD: Final = 64
_READ_SIZE: Final = 65536


def complain(sentence: str) -> None:
    """An error, on stderr."""
    print(f"wsdump: {sentence}", file=sys.stderr, flush=True)


class TraceHandler(logging.Handler):
    """The trace on stderr, or where ``show`` puts it; what the server sent is escaped."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.show = show

    def emit(self, record: logging.LogRecord) -> None:
        text = escape(self.format(record))
        if self.show is not None:
            self.show(text)
        else:
            print(text, file=sys.stderr, flush=True)


class Receiver(threading.Thread):
    """Shows what arrives, until the connection ends.

    Attributes:
        close: code and reason of the server's Close frame, or None.
        error: what ended the connection otherwise, or None.
        output_error: why a message could not be shown, or None.
        ended: whether nothing more will be received.
    """

    def __init__(
        self,
        ws: WebSocket,
        show: Callable[[int, bytes], None],
        at_end: Callable[[], None],
    ) -> None:
        super().__init__(name="wsdump-receive", daemon=True)
        self.close: tuple[int, str] | None = None
        self.error: Exception | None = None
        self.output_error: OSError | None = None
        self.ended = False
        self._ws = ws
        self._show = show
        self._at_end = at_end

    def run(self) -> None:
        try:
            opcode = OP_TEXT
            while opcode != OP_CLOSE:
                opcode, frame = self._ws.recv_data_frame(control_frame=True)
                if opcode == OP_CLOSE:
                    self.close = _close_of(frame.data)
                try:
                    self._show(opcode, frame.data)
                except OSError as error:
                    self.output_error = error
                    return
        except Exception as error:
            self.error = error
        finally:
            self.ended = True
            self._at_end()


def _close_of(payload: bytes) -> tuple[int, str]:
    if not payload:
        return CLOSE_NO_STATUS, ""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode("utf-8", "replace")


class Session:
    """Talk over a connection until one side ends it.

    Parameters:
        ws: an open connection, which the session closes.
        args: what ``parse_args`` returns.
        console: where to read and show.
        trace: the handler of the trace, if there is one.
    """

    def __init__(
        self,
        ws: WebSocket,
        args: argparse.Namespace,
        console: InteractiveConsole | NonInteractive,
        trace: TraceHandler | None = None,
    ) -> None:
        self._ws = ws
        self._args = args
        self._console = console
        self._trace = trace
        self._started = time.monotonic()
        self._closing = False
        # Lines of the input, None at its end; False at the end of the connection.
        self._queue: queue.SimpleQueue[bytes | bool | None] = queue.SimpleQueue()
        self._receiver = Receiver(ws, self._show, self._at_end)

    def run(self) -> int:
        """Run to the end; return the exit status."""
        try:
            if isinstance(self._console, InteractiveConsole):
                with self._console:
                    return self._on_terminal(self._console)
            return self._with_pipes()
        except KeyboardInterrupt:
            self._closing = True
            self._ws.close(timeout=1)
            return EXIT_INTERRUPTED

    # Sending

    def _on_terminal(self, console: InteractiveConsole) -> int:
        if self._trace is not None:
            self._trace.show = console.note
        try:
            self._begin()
            while self._send(console.read()):
                pass
        except EOFError:
            self._receiver.join(self._args.eof_wait)
        except InputEnded:
            pass
        return self._finish()

    def _with_pipes(self) -> int:
        self._begin()
        slots = threading.Semaphore(_LINES_AHEAD)
        threading.Thread(
            target=self._read_input, args=(slots,), name="wsdump-input", daemon=True
        ).start()
        number = 0
        while True:
            line = self._next_line()
            slots.release()
            if line is None:
                self._receiver.join(self._args.eof_wait)
                return self._finish()
            if isinstance(line, bool):
                return self._finish()
            number += 1
            if not self._send(line, f"Line {number} of the input"):
                usable = not self._receiver.ended
                return max(self._finish(), EXIT_USAGE) if usable else self._finish()

    def _begin(self) -> None:
        self._receiver.start()
        if self._args.text is not None:
            self._send(self._args.text.encode())

    def _send(self, line: bytes, what: str = "This line") -> bool:
        """Send a line as text; False when that can't be done."""
        try:
            self._ws.send(line.decode())
        except UnicodeDecodeError:
            complain(f"{what} is not UTF-8, as text messages must be; it was not sent.")
            return isinstance(self._console, InteractiveConsole)
        except WebSocketConnectionClosedException:
            # How it ended is the receiver's to tell.
            self._receiver.join(CLOSE_TIMEOUT)
            return False
        return True

    def _read_input(self, slots: threading.Semaphore) -> None:
        for line in _input_lines():
            slots.acquire()
            self._queue.put(line)
        self._queue.put(None)

    def _next_line(self) -> bytes | bool | None:
        if os.name != "nt":
            return self._queue.get()
        while True:  # a wait without a limit can't be interrupted with Ctrl-C there
            try:
                return self._queue.get(timeout=0.2)
            except queue.Empty:
                continue

    # Receiving

    def _show(self, opcode: int, payload: bytes) -> None:
        if opcode not in OPCODE_DATA and not self._args.verbose:
            return
        prefix = f"{time.monotonic() - self._started:.6f}: " if self._args.timings else ""
        if self._args.verbose:
            prefix += f"{OPCODE_NAMES[opcode]}: "
        if self._args.raw and isinstance(self._console, NonInteractive):
            # Lines are the form of text; data that is binary gets nothing added to it.
            end = b"\n" if prefix or opcode != OP_BINARY else b""
            self._console.write_raw(prefix.encode() + payload + end)
        elif opcode == OP_CLOSE:
            code, reason = _close_of(payload)
            self._console.write(f"{prefix}{code} {escape(reason)}".rstrip())
        else:
            self._console.write(prefix + display_payload(payload, opcode == OP_TEXT))

    def _at_end(self) -> None:
        if isinstance(self._console, InteractiveConsole):
            self._console.end()
        else:
            self._queue.put(False)

    # Ending

    def _finish(self) -> int:
        """The closing handshake, showing what arrives until it is done."""
        if not self._receiver.ended:
            self._closing = True
            try:
                self._ws.settimeout(CLOSE_TIMEOUT)
                self._ws.send_close()
            except WebSocketException:
                pass  # it ended in this moment, and the receiver knows how
            self._receiver.join(CLOSE_TIMEOUT)
        answered = self._receiver.ended
        self._ws.close(timeout=1 if answered else 0)
        sentence = self._verdict(answered)
        if sentence is None:
            if not self._closing and isinstance(self._console, InteractiveConsole):
                self._console.note("The server closed the connection.")
            return EXIT_OK
        complain(sentence)
        return EXIT_LOST

    def _verdict(self, answered: bool) -> str | None:
        """What was wrong with the end of the connection, if anything was."""
        error = self._receiver.error
        if self._receiver.output_error is not None:
            _drop_output()
            reason = self._receiver.output_error.strerror or self._receiver.output_error
            return f"The output can't be written: {reason}."
        if self._receiver.close is not None:
            code, reason = self._receiver.close
            if code in _NORMAL_CODES:
                return None
            return one_line(f"The server closed the connection with code {code}. {reason}")
        if not answered or (self._closing and isinstance(error, WebSocketTimeoutException)):
            return (
                f"The server did not answer the closing handshake within {CLOSE_TIMEOUT:g} seconds."
            )
        if self._closing and isinstance(error, WebSocketConnectionClosedException):
            return "The connection was lost before the server had answered the closing handshake."
        if isinstance(error, WebSocketException):
            return one_line(str(error))
        return one_line(f"{type(error).__name__}: {error}")


def _drop_output() -> None:
    # Otherwise the interpreter would find text to write when it ends, and complain again.
    with contextlib.suppress(AttributeError, OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _input_lines() -> Iterator[bytes]:
    """Lines of standard input without their ends.

    Past the buffer of ``sys.stdin``: a thread that waits inside of it would keep the
    interpreter from ending.
    """
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        for text in sys.stdin or ():
            yield text.rstrip("\r\n").encode("utf-8", "surrogateescape")
        return
    begun: list[bytes] = []
    while True:
        try:
            data = os.read(descriptor, _READ_SIZE)
        except OSError:
            data = b""
        *ends, rest = data.split(b"\n")
        for end in ends:
            yield b"".join([*begun, end]).removesuffix(b"\r")
            begun = []
        if rest:
            begun.append(rest)
        if not data:
            break
    if begun:
        yield b"".join(begun).removesuffix(b"\r")


def start_trace(args: argparse.Namespace) -> TraceHandler | None:
    """Trace to stderr where the verbosity asks for it."""
    if args.verbose < 2:
        return None
    handler = TraceHandler()
    enableTrace(True, handler)
    return handler
