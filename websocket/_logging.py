"""The ``websocket`` logger and the trace of what goes over the wire.

The library attaches no handler of its own. A program that sets up logging decides what it
sees; in a program that does not, Python's last-resort handler prints warnings and errors
(an exception in a callback, say) to stderr, so that none of them disappears unseen.
"""

from __future__ import annotations

import logging
import re
import threading

__all__ = [
    "debug",
    "dump",
    "enableTrace",
    "error",
    "info",
    "isEnabledForDebug",
    "isEnabledForError",
    "isEnabledForTrace",
    "trace",
    "warning",
]

_logger = logging.getLogger("websocket")
# What a program sees that never set up logging: the level of Python's root logger.
_default_level = logging.WARNING

_traceEnabled = False
_trace_handler: logging.Handler | None = None
_show_secrets = False
_level_before_trace: int | None = None
_trace_lock = threading.Lock()

_SECRET_FIELD = re.compile(
    r"^([ \t]*(?:proxy-)?authorization|[ \t]*(?:set-)?cookie2?)([ \t]*:[ \t]*)\S.*$",
    re.IGNORECASE | re.MULTILINE,
)


def enableTrace(
    traceable: bool,
    handler: logging.Handler | None = None,
    level: str = "DEBUG",
    *,
    show_secrets: bool = False,
) -> None:
    """Switch the trace of handshakes and frames on or off, for all connections.

    Args:
        traceable: True starts the trace, False ends it: the handler that an earlier call
            attached is removed, and the logger gets back the level that it had before.
        handler: where the trace goes. Default: a ``logging.StreamHandler``, that is stderr.
            It takes the place of the handler of an earlier call; without one, an earlier
            call's handler stays, so that calling twice prints nothing twice.
        level: name of the level that the logger ``websocket`` gets. The trace itself is
            logged at DEBUG.
        show_secrets: print the values of Authorization, Proxy-Authorization, Cookie and
            Set-Cookie as they are. By default ``***`` stands in their place.

    Raises:
        ValueError: ``level`` names no logging level. Nothing has changed then.
    """
    global _traceEnabled, _trace_handler, _show_secrets, _level_before_trace
    with _trace_lock:
        if traceable:
            before = _logger.level
            _logger.setLevel(level)
            if _level_before_trace is None:
                _level_before_trace = before
            if handler is not None or _trace_handler is None:
                _replace_handler(handler or logging.StreamHandler())
        else:
            _replace_handler(None)
            if _level_before_trace is not None:
                _logger.setLevel(_level_before_trace)
                _level_before_trace = None
        _show_secrets = bool(traceable and show_secrets)
        _traceEnabled = bool(traceable)


def _replace_handler(handler: logging.Handler | None) -> None:
    global _trace_handler
    if _trace_handler is not None:
        _logger.removeHandler(_trace_handler)
        _trace_handler = None
    # A handler that the program attached by itself stays the program's to remove.
    if handler is not None and handler not in _logger.handlers:
        _logger.addHandler(handler)
        _trace_handler = handler


def dump(title: str, message: str) -> None:
    """Trace a block of text between ``--- title ---`` and ``-----``, secrets masked."""
    if _traceEnabled:
        # One line end less, since the handler adds one.
        text = message.replace("\r\n", "\n").removesuffix("\n")
        _logger.debug("%s", f"--- {title} ---")
        _logger.debug("%s", text if _show_secrets else _SECRET_FIELD.sub(r"\1\2***", text))
        _logger.debug("%s", "-----")


def trace(msg: str) -> None:
    """Log ``msg`` at DEBUG while the trace is on; such as ``send: b'...'``."""
    if _traceEnabled:
        _logger.debug("%s", msg)


def error(msg: object) -> None:
    """Log ``msg`` at ERROR."""
    _logger.error("%s", msg)


def warning(msg: object) -> None:
    """Log ``msg`` at WARNING."""
    _logger.warning("%s", msg)


def info(msg: object) -> None:
    """Log ``msg`` at INFO."""
    _logger.info("%s", msg)


def debug(msg: object) -> None:
    """Log ``msg`` at DEBUG."""
    _logger.debug("%s", msg)


def event(name: str, message: str, *args: object, **fields: object) -> None:
    """Log an event in the life of a connection at INFO, for people and for programs.

    Args:
        name: becomes ``ws_event`` of the record.
        message, args: for people.
        fields: become attributes of the record, with ``ws_`` before their names.
    """
    if _logger.isEnabledFor(logging.INFO):
        extra = {f"ws_{key}": value for key, value in fields.items()}
        _logger.info(message, *args, extra={"ws_event": name, **extra})


def isEnabledForError() -> bool:
    """Whether an ERROR of the library would be logged."""
    return _logger.isEnabledFor(logging.ERROR)


def isEnabledForDebug() -> bool:
    """Whether a DEBUG message of the library would be logged."""
    return _logger.isEnabledFor(logging.DEBUG)


def isEnabledForTrace() -> bool:
    """Whether the trace is on: ask before building an expensive trace message."""
    return _traceEnabled
