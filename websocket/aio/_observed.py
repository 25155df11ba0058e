"""What observers are told of connections of the asyncio face, while they are open.

The choice of the classes here is made once per connection, so that those without an observer
pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from .._observe import Observer, tell, tell_ended, tell_received
from .._protocol.connection import Connection as Core
from .._protocol.frames import OP_CLOSE
from .._protocol.sending import Payload
from ._driver import Driver
from ._options import Settings


class ObservedCore(Core):
    """Tells of the messages that it has parsed."""

    observer: Observer

    def resting(self) -> None:
        # What comes up otherwise than by ``go_on`` would not be told of.
        return None

    def go_on(self, more: Callable[[], bool] | None = None) -> None:
        before = len(self.events)
        super().go_on(more)
        tell_received(self.observer, tuple(islice(self.events, before, None)))


class ObservedDriver(Driver):
    """Tells of what is sent, and of pongs."""

    def __init__(self, core: Core, settings: Settings, deliver: Callable[[int], None]) -> None:
        super().__init__(core, settings, deliver)
        assert settings.observer is not None
        self.observer = settings.observer
        self._size = 0  # of the message that is being sent in pieces
        self.direct = False

    def send(self, opcode: int, payload: Payload) -> None:
        super().send(opcode, payload)
        if opcode < OP_CLOSE:
            tell(self.observer, "sent", len(payload))

    def send_piece(self, payload: Payload, fin: bool) -> None:
        super().send_piece(payload, fin)
        self._size += len(payload)
        if fin:
            size, self._size = self._size, 0
            tell(self.observer, "sent", size)

    def answered(self, latency: float) -> None:
        super().answered(latency)
        tell(self.observer, "ponged", latency)


def connection_ended(driver: Driver) -> None:
    """``Driver.on_end`` of a connection that is all of its run."""
    tell_ended(getattr(driver, "observer", None), driver.mishap, driver.core.close_code)
