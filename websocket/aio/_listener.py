"""Messages straight from the transport's callback: ``Listener``. No queue, no task, no waiting."""

from __future__ import annotations

from typing import Any

from .._exceptions import WebSocketArgumentException
from .._protocol.frames import OP_BINARY, OP_TEXT
from ._connection import Data
from ._endpoint import Endpoint
from ._open import Opened
from ._options import Settings
from ._outer import make_driver


class Listener(Endpoint):
    """A connection that calls its own methods. Override them, and hand an object of the
    class to ``connect_listener``; it is good for one connection.

    The methods run inside the loop's callback for received data: what they do not get done
    quickly keeps everything else in the loop waiting. An exception in one goes to the loop's
    exception handler, and the connection goes on.
    """

    # Methods to override

    def on_open(self) -> None:
        """The connection is open."""

    def on_message(self, message: str | bytes) -> None:
        """A message has arrived: str for text, bytes for binary."""

    def on_close(self, error: Exception | None) -> None:
        """The connection has ended; called exactly once.

        Parameters:
            error: None if one of the two sides closed it, otherwise what went wrong.
        """

    def on_pause(self) -> None:
        """The transport has no room: what is sent from now on fills memory."""

    def on_resume(self) -> None:
        """The transport has room again."""

    # Sending

    def send(self, message: Data, text: bool | None = None) -> None:
        """Send one message now. It never waits: ``drain`` does, and ``on_pause`` tells.

        Parameters:
            message: str is sent as text, bytes and their like as binary.
            text: True sends bytes as text.

        Raises:
            WebSocketConnectionClosedException: the connection is closed or closing.
            WebSocketPayloadException: what is to be sent as text is not UTF-8.
        """
        if text is None and self._core.plain and self._send_fast(message):
            return
        driver = self._driver
        if text is None:
            text = isinstance(message, str)
        elif isinstance(message, str) and not text:
            message = message.encode()
        driver.send(OP_TEXT if text else OP_BINARY, message)
        driver.messages_sent += 1

    async def drain(self) -> None:
        """Wait until the transport has room."""
        await self._driver.turn()

    def pause_reading(self) -> None:
        """Receive nothing until ``resume_reading``; keepalive rests for as long."""
        self._driver.pause_reading()

    def resume_reading(self) -> None:
        """Go on receiving."""
        self._driver.resume_reading()

    # What the driver calls

    def _check_new(self) -> None:
        if hasattr(self, "_driver"):
            raise WebSocketArgumentException("A listener is good for one connection: make another.")

    def _open(self, opened: Opened, settings: Settings) -> None:
        driver = make_driver(settings, opened.response.codec, self._delivered)
        driver.on_pause, driver.on_resume = self._paused, self._resumed
        driver.straight_to(self, "on_message", self._failed)
        self._request = opened.request
        self._response = opened.response
        self._driver = driver
        self._core = driver.core
        self._events: Any = driver.core.events
        self._told = False

    def _opened(self) -> None:
        self._send_fast = self._driver.send_fast
        self._call(self.on_open)

    def _delivered(self, count: int) -> None:
        events = self._events
        while events:
            try:
                on_message = self.on_message
                while events:
                    on_message(events.popleft())
            except Exception as error:
                self._report(error)
        if count == 0 and self._driver.closed and not self._told:
            self._told = True
            self._call(self.on_close, self._driver.mishap)

    def _failed(self, error: BaseException, rest: list[str | bytes]) -> None:
        """``on_message`` has raised; what came with that message is still to be handed over."""
        self._events.extend(rest)
        if not isinstance(error, Exception):
            # The loop ends. Should it run again, this comes before what comes then.
            self._driver.leave_fast_path()
            raise error
        self._report(error)
        self._delivered(1)

    def _paused(self) -> None:
        self._call(self.on_pause)

    def _resumed(self) -> None:
        self._call(self.on_resume)

    def _call(self, method: Any, *args: Any) -> None:
        try:
            method(*args)
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        self._driver.loop.call_exception_handler(
            {"message": f"An error in a method of {self!r}", "exception": error}
        )
