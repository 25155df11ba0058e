"""How the line that the user is editing makes room for other text, and comes back.

GNU readline has functions for that, which Python's ``readline`` module doesn't show; they are
called through ``ctypes``. With other editors, the line is drawn anew as if the cursor stood at
its end: what was entered stays right in any case.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from .text import display_width

_CLEAR_DOWN: Final = "\r\x1b[J"
_RL_STATE_CALLBACK: Final = 0x80000  # readline.h: the callback interface is reading a line


class LineEditor:
    """The editor of ``input``.

    Its methods must be called by the thread that is in ``input``, from a signal handler.

    Parameters:
        put: writes to the terminal at once.
    """

    def __init__(self, put: Callable[[str], None]) -> None:
        self._put = put
        self._readline = _load_readline()
        self._gnu, self._state = _load_gnu_functions(self._readline)

    @property
    def active(self) -> bool:
        """Whether there is a line on the screen. Readline's functions must not be called
        before it has set itself up, or after the line was entered."""
        return self._gnu is None or bool(self._state.value & _RL_STATE_CALLBACK)

    def clear(self) -> None:
        """Take the edited line off the screen; the cursor stands where it began."""
        if self._gnu is not None:
            self._gnu.rl_clear_visible_line()
            # The editor writes to a stream of the C library, which has a buffer of its own.
            self._gnu.fflush(None)
        else:
            rows = display_width(self._entered) // max(shutil.get_terminal_size().columns, 1)
            self._put((f"\x1b[{rows}A" if rows else "") + _CLEAR_DOWN)

    def draw(self, prompt: str) -> None:
        """Draw the edited line where the cursor stands."""
        if self._gnu is not None:
            self._gnu.rl_on_new_line()
            self._gnu.rl_redisplay()
        else:
            self._put(prompt + self._entered)

    @property
    def _entered(self) -> str:
        return "" if self._readline is None else self._readline.get_line_buffer()


def _load_readline() -> ModuleType | None:
    """The editor of ``input``, once imported; where there is none, lines are plain."""
    try:
        import readline
    except ImportError:
        return None
    return readline


def _load_gnu_functions(readline: ModuleType | None) -> tuple[Any, Any]:
    """The library and its ``rl_readline_state``, or None twice."""
    if readline is None or "libedit" in (readline.__doc__ or ""):
        return None, None
    try:
        import ctypes

        library = ctypes.PyDLL(readline.__file__)
        for name in ("rl_clear_visible_line", "rl_on_new_line", "rl_redisplay"):
            function = getattr(library, name)
            function.argtypes = []
        library.fflush.argtypes = [ctypes.c_void_p]
        state = ctypes.c_ulong.in_dll(library, "rl_readline_state")
    except (ImportError, OSError, AttributeError, TypeError, ValueError):
        # Linked into the interpreter, or older than readline 7.
        return None, None
    return library, state
