"""A program in a pseudo-terminal, and what a person would see on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from types import TracebackType

DEADLINE = 10.0

# The terminal becomes the program's own, so that keys can raise signals.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
_SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z@])|\x1b[=>78]|\x1b[()][0B]")


class Screen:
    """The part of a VT100 that a line editor uses: enough to see what it drew."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.lines = [""] * rows
        self.row = self.column = 0
        self.unknown: list[str] = []
        self._rest = ""

    @property
    def text(self) -> list[str]:
        """The lines with something on them."""
        return [line.rstrip() for line in self.lines if line.strip()]

    def feed(self, text: str) -> None:
        text = self._rest + text
        position = 0
        while position < len(text):
            if text[position] == "\x1b":
                match = _SEQUENCE.match(text, position)
                if match is None:
                    if len(text) - position < 16:
                        break
                    self.unknown.append(text[position : position + 16])
                    position += 1
                    continue
                if match[2]:
                    self._control(match[1], match[2])
                position = match.end()
            else:
                self._character(text[position])
                position += 1
        self._rest = text[position:]

    def _character(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character == "\b":
            self.column = max(self.column - 1, 0)
        elif character < " ":
            if character != "\x07":
                self.unknown.append(character)
        else:
            if self.column == self.columns:
                self.column = 0
                self._down()
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        if self.row + 1 < self.rows:
            self.row += 1
        else:
            self.lines = [*self.lines[1:], ""]

    def _control(self, parameters: str, final: str) -> None:
        number = int(parameters) if parameters.isdecimal() else 0
        line = self.lines[self.row].ljust(self.column)
        if final == "K" and not number:
            self.lines[self.row] = line[: self.column]
        elif final == "J" and not number:
            self.lines[self.row] = line[: self.column]
            self.lines[self.row + 1 :] = [""] * (self.rows - self.row - 1)
        elif final == "J":
            self.lines = [""] * self.rows
        elif final == "H":
            row, _, column = parameters.partition(";")
            self.row, self.column = int(row or 1) - 1, int(column or 1) - 1
        elif final == "A":
            self.row = max(self.row - (number or 1), 0)
        elif final == "C":
            self.column = min(self.column + (number or 1), self.columns - 1)
        elif final == "D":
            self.column = max(self.column - (number or 1), 0)
        elif final == "P":
            self.lines[self.row] = line[: self.column] + line[self.column + (number or 1) :]
        elif final == "@":
            gap = " " * (number or 1)
            self.lines[self.row] = line[: self.column] + gap + line[self.column :]
        elif final not in "mhl":
            self.unknown.append(parameters + final)


class Terminal:
    """A running program whose terminal this is; it is killed at the end if need be."""

    def __init__(
        self, command: list[str], environment: dict[str, str], rows: int = 24, columns: int = 80
    ) -> None:
        self.screen = Screen(rows, columns)
        self.raw = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**environment, "TERM": "xterm", "INPUTRC": os.devnull},
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)
        os.close(self._master)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read(self, seconds: float) -> bool:
        """Take what the program wrote; False when it has ended."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        text = data.decode("utf-8", "replace")
        self.raw += text
        self.screen.feed(text)
        return bool(data)

    def until(self, *lines: str) -> None:
        """Read until these are the last lines on the screen."""
        end = time.monotonic() + DEADLINE
        while self.screen.text[-len(lines) :] != list(lines):
            assert time.monotonic() < end, f"{lines} expected, screen is {self.screen.text}"
            if not self.read(0.1):
                assert self.screen.text[-len(lines) :] == list(lines), self.screen.text
                return

    def wait(self) -> int:
        """Read to the end of the program; return its exit status."""
        end = time.monotonic() + DEADLINE
        while self.read(0.1):
            assert time.monotonic() < end, f"still running, screen is {self.screen.text}"
            if self.process.poll() is not None and not select.select([self._master], [], [], 0)[0]:
                break
        return self.process.wait(DEADLINE)
