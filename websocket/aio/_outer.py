"""The outer road: for connections that are traced, or have mask keys of their own.

The choice is made once per connection, so that the others pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._abnf import ABNF, abnf_of
from .._logging import isEnabledForTrace, trace
from .._protocol.connection import Connection as Core
from .._protocol.connection import Payload
from .._protocol.frames import OP_CLOSE
from .._protocol.messages import Frame
from ._driver import Driver
from ._options import Settings


def make_driver(settings: Settings, deliver: Callable[[int], None], *, fragments: bool) -> Driver:
    """The protocol state and the driver for these options.

    Parameters:
        deliver: see ``Driver``.
        fragments: hand over the pieces of messages.
    """
    traced = isEnabledForTrace()
    core = (TracedCore if traced else Core)(
        max_size=settings.max_size,
        fragments=fragments,
        check_text=not settings.skip_utf8_validation,
    )
    if traced or settings.get_mask_key is not None:
        return OuterDriver(core, settings, deliver)
    return Driver(core, settings, deliver)


class TracedCore(Core):
    """Shows each frame that comes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._scans = False

    def next_frame(
        self, strict: bool = False, more: Callable[[], bool] | None = None
    ) -> Frame | None:
        frame = super().next_frame(strict, more)
        if frame is not None:
            trace(f"recv: {abnf_of(frame).format()!r}")
        return frame


class OuterDriver(Driver):
    __slots__ = ("_get_mask_key",)

    def __init__(self, core: Core, settings: Settings, deliver: Callable[[int], None]) -> None:
        super().__init__(core, settings, deliver)
        self._get_mask_key = settings.get_mask_key
        self.direct = False

    def send(self, opcode: int, payload: Payload, fin: bool = True) -> None:
        frame = ABNF.create_frame(self.core.check(opcode, payload, fin), opcode, int(fin))
        if self._get_mask_key is not None:
            frame.get_mask_key = self._get_mask_key
        data = frame.format()
        if opcode == OP_CLOSE:
            self.core.note_close(bytes(frame.data))
        if isEnabledForTrace():
            trace(f"send: {data!r}")
        self.write(data)
