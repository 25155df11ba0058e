"""Where ``wsdump`` reads lines and shows messages: a terminal, or pipes.

On a terminal, messages arrive while the user edits a line. They must not be printed by the
thread that receives them: only the editor knows where the cursor is, and its memory is not
safe to look at from outside. So the receiving thread leaves its text in a queue and sends the
main thread a signal, which interrupts the editor between two keys: the text is printed, then
the editor draws its line anew, the cursor where it was.

The signal is SIGURG, as nothing else sends it and ignoring it is its default: one that comes
late harms nobody.
"""

from __future__ import annotations

import code
import contextlib
import os
import queue
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final

from .editor import LineEditor

PROMPT: Final = "> "
RECEIVED: Final = "< "
_REPEAT_AFTER: Final = 0.01


class InputEnded(Exception):
    """``end`` was called: there is nothing left to enter lines for."""


class RawInput:
    """Reads lines from standard input."""

    def raw_input(self, prompt: str = "") -> bytes:
        """A line without its end, in the bytes that were entered.

        Raises:
            EOFError: there are no more lines.
        """
        return input(prompt).encode("utf-8", "surrogateescape")


class NonInteractive(RawInput):
    """Standard input and output without prompt or decoration."""

    def read(self) -> bytes:
        """The next line."""
        return self.raw_input("")

    def write(self, data: str) -> None:
        """Write a line."""
        sys.stdout.write(f"{data}\n")
        sys.stdout.flush()

    def write_raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


class InteractiveConsole(RawInput, code.InteractiveConsole):  # type: ignore[misc]
    """A terminal with line editing and history.

    Inside a ``with`` block in the main thread, any thread may write while ``read`` waits for
    a line, and the line that the user is editing stays as it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._editor = LineEditor(self._put)
        self._pending: deque[str] = deque()
        # Of this kind, because a signal handler may put into it at any time.
        self._handled: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._reading = False
        self._printing = False
        self._ended = False
        self._end_noticed = False
        self._signals = False
        self._handler_before: Any = None
        self._wakeup = self._wakeup_before = -1
        self._colour = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> InteractiveConsole:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and hasattr(signal, "pthread_kill"):
            self._handler_before = signal.signal(signal.SIGURG, self._on_signal)
            self._signals = True
            self._watch_interrupts()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            signals, self._signals = self._signals, False
        if signals:
            signal.set_wakeup_fd(self._wakeup_before)
            os.close(self._wakeup)
            signal.signal(signal.SIGURG, self._handler_before or signal.SIG_DFL)
        self._print_pending()

    def _watch_interrupts(self) -> None:
        """See to it that Ctrl-C is noticed.

        Like any signal it is lost on the editor if it comes just before the wait for a key.
        """
        watched, self._wakeup = os.pipe()
        os.set_blocking(self._wakeup, False)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

        def watch() -> None:
            with open(watched, "rb", buffering=0) as signals:
                while numbers := signals.read(1):
                    if numbers[0] == signal.SIGINT:
                        self._interrupt_main(lambda: not self._reading)

        threading.Thread(target=watch, name="wsdump-interrupts", daemon=True).start()

    def read(self) -> bytes:
        """A line that the user entered.

        Raises:
            EOFError: the user pressed Ctrl-D.
            KeyboardInterrupt: the user pressed Ctrl-C.
            InputEnded: another thread called ``end``.
        """
        self._print_pending()
        try:
            self._reading = True
            # Asked after the flag is set: the signal of an earlier end won't come again.
            if self._ended:
                raise InputEnded
            return self.raw_input(PROMPT)
        except (EOFError, KeyboardInterrupt, InputEnded):
            self._put("\n")
            raise
        except SystemError as error:
            # input() lets a second signal's handler run while the exception of the first one
            # is on its way. The interpreter takes that for an error of the handler's.
            if not isinstance(error.__cause__, (KeyboardInterrupt, InputEnded)):
                raise
            self._put("\n")
            raise error.__cause__ from None
        finally:
            self._reading = False

    def write(self, data: str) -> None:
        """Show a received message."""
        marker = f"\x1b[34m{RECEIVED}\x1b[0m" if self._colour else RECEIVED
        # Indented, so that no line of a message looks like a prompt.
        self._show(marker + data.replace("\n", f"\n{' ' * len(RECEIVED)}"))

    def note(self, text: str) -> None:
        """Show a remark of the program's own."""
        self._show(f"\x1b[2m{text}\x1b[0m" if self._colour else text)

    def end(self) -> None:
        """Let ``read`` come back with InputEnded, now and whenever it is called again."""
        self._ended = True
        self._interrupt_main(lambda: self._end_noticed)

    # Printing

    def _show(self, text: str) -> None:
        self._pending.append(text)
        self._interrupt_main(lambda: not self._pending)

    def _interrupt_main(self, is_done: Callable[[], bool]) -> None:
        """Have the main thread look at what is pending, and wait until it has."""
        if threading.current_thread() is threading.main_thread():
            self._print_pending()
            return
        main = threading.main_thread().ident
        assert main is not None
        while True:
            with self._lock:
                if not self._signals:
                    break
                signal.pthread_kill(main, signal.SIGURG)
            # A signal that comes just before the editor begins to wait for a key does not
            # end that wait, so it is repeated.
            with contextlib.suppress(queue.Empty):
                self._handled.get(timeout=_REPEAT_AFTER)
            if is_done():
                return
        self._print_pending()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._print_pending()
        self._end_noticed = self._ended
        self._handled.put(None)
        if self._ended and self._reading and not self._printing:
            raise InputEnded

    def _print_pending(self) -> None:
        # A signal may come while the one before it is still being served.
        if self._printing:
            return
        self._printing = True
        try:
            while self._pending:
                self._print(f"{self._pending.popleft()}\n")
        finally:
            self._printing = False

    def _print(self, text: str) -> None:
        if not self._reading:
            self._put(text)
        elif not self._editor.active:
            # Not begun, or entered; in which case the prompt may still stand there.
            self._put(f"\r\x1b[K{text}")
        else:
            self._editor.clear()
            self._put(text)
            self._editor.draw(PROMPT)

    def _put(self, text: str) -> None:
        """Write at once and past the buffer of ``sys.stdout``, which a signal may have caught
        in the middle of a write of its own."""
        if not text:
            return
        try:
            descriptor = sys.stdout.fileno()
        except (AttributeError, OSError):
            sys.stdout.write(text)
            return
        data = text.encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        while data:
            data = data[os.write(descriptor, data) :]


def is_terminal() -> bool:
    """Whether a person sits at both ends."""
    with contextlib.suppress(AttributeError, ValueError):
        return sys.stdin.isatty() and sys.stdout.isatty()
    return False
