"""The outer road: for connections that are traced, observed, or have mask keys of their own.

The choice is made once per connection, so that the others pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._abnf import ABNF, abnf_of
from .._logging import isEnabledForTrace, trace
from .._protocol.connection import Connection as Core
from .._protocol.extensions import Codec
from .._protocol.frames import FIN, OP_CLOSE
from .._protocol.messages import Frame
from .._protocol.sending import Payload
from ._driver import Driver
from ._observed import ObservedCore, ObservedDriver
from ._options import Settings


def make_driver(settings: Settings, codec: Codec | None, deliver: Callable[[int], None]) -> Driver:
    """The protocol state and the driver for these options.

    Parameters:
        codec: the extension that was agreed on.
        deliver: see ``Driver``.
    """
    traced = isEnabledForTrace()
    outer = traced or settings.get_mask_key is not None
    options: dict[str, Any] = {
        "max_size": settings.max_size,
        "check_text": not settings.skip_utf8_validation,
        "codec": codec,
    }
    if settings.observer is None:
        core = (TracedCore if traced else Core)(**options)
        return (OuterDriver if outer else Driver)(core, settings, deliver)
    watched = (ObservedTracedCore if traced else ObservedCore)(**options)
    watched.observer = settings.observer
    return (ObservedOuterDriver if outer else ObservedDriver)(watched, settings, deliver)


class TracedCore(Core):
    """Shows each frame that comes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scans = False

    def next_frame(
        self, strict: bool = False, more: Callable[[], bool] | None = None
    ) -> Frame | None:
        # Strictly, some frames would not come as such, but part by part.
        frame = super().next_frame(False, more)
        if frame is not None:
            trace(f"recv: {abnf_of(frame).format()!r}")
        return frame


class OuterDriver(Driver):
    __slots__ = ("_get_mask_key",)

    def __init__(self, core: Core, settings: Settings, deliver: Callable[[int], None]) -> None:
        super().__init__(core, settings, deliver)
        self._get_mask_key = settings.get_mask_key
        self.direct = False

    def send(self, opcode: int, payload: Payload) -> None:
        data = self.core.check(opcode, payload)
        rsv = 0
        if opcode < OP_CLOSE:
            rsv, data = self.core.encode_payload(opcode, data)
        self._send_frame(FIN | rsv | opcode, data)
        if opcode >= OP_CLOSE:
            self.core.counts.sent(opcode)
        if opcode == OP_CLOSE:
            self.core.note_close(data)

    def send_piece(self, payload: Payload, fin: bool) -> None:
        self._send_frame(*self.core.frame_piece(payload, fin))

    def _send_frame(self, first: int, payload: Any) -> None:
        frame = ABNF.create_frame(payload, first & 0x0F, fin=first >> 7)
        frame.rsv1, frame.rsv2, frame.rsv3 = first >> 6 & 1, first >> 5 & 1, first >> 4 & 1
        if self._get_mask_key is not None:
            frame.get_mask_key = self._get_mask_key
        data = frame.format()
        if isEnabledForTrace():
            trace(f"send: {data!r}")
        self.write(data)


class ObservedTracedCore(ObservedCore, TracedCore):
    pass


class ObservedOuterDriver(ObservedDriver, OuterDriver):
    pass
