"""The outer road: frame by frame, for connections that are traced or have own mask keys."""

from __future__ import annotations

from collections.abc import Callable

from .._abnf import ABNF, abnf_of
from .._exceptions import WebSocketPayloadException, WebSocketProtocolException
from .._logging import isEnabledForTrace, trace
from .._protocol.connection import Connection as Core
from .._protocol.connection import Payload
from .._protocol.frames import OP_CLOSE
from ._driver import Driver
from ._options import Settings


def make_driver(core: Core, settings: Settings, deliver: Callable[[int], None]) -> Driver:
    """The driver for these options; the choice is made once per connection."""
    if settings.get_mask_key is not None or isEnabledForTrace():
        return OuterDriver(core, settings, deliver)
    return Driver(core, settings, deliver)


class OuterDriver(Driver):
    __slots__ = ("_get_mask_key",)

    def __init__(self, core: Core, settings: Settings, deliver: Callable[[int], None]) -> None:
        super().__init__(core, settings, deliver)
        self._get_mask_key = settings.get_mask_key
        self._parse = self._parse_frames
        self.encode = self._encode_frame

    def _parse_frames(self, count: int) -> None:
        core = self.core
        core.buffer.wrote(count)
        try:
            while not core.ended and (frame := core.next_frame(strict=True)) is not None:
                if isEnabledForTrace():
                    trace(f"recv: {abnf_of(frame).format()!r}")
                core.accept(frame)
        except (WebSocketProtocolException, WebSocketPayloadException) as error:
            core.ended = True
            core.events.append(error.with_traceback(None))
        if core.ended:
            core.buffer.clear()

    def _encode_frame(self, opcode: int, payload: Payload, fin: bool = True) -> bytes:
        frame = ABNF.create_frame(self.core.check(opcode, payload, fin), opcode, int(fin))
        if self._get_mask_key is not None:
            frame.get_mask_key = self._get_mask_key
        data = frame.format()
        if opcode == OP_CLOSE:
            self.core.note_close(bytes(frame.data))
        if isEnabledForTrace():
            trace(f"send: {data!r}")
        return data
