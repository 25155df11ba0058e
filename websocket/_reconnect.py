"""When to dial again: an immutable policy and its arithmetic. Time and chance are passed in.

Nothing here waits or dials, so every face can use it: a face tells what ended a connection
and for how long it was open, and learns whether to dial again, and when.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple, cast

from ._exceptions import (
    WebSocketArgumentException,
    WebSocketBadStatusException,
    WebSocketException,
    WebSocketPayloadException,
    WebSocketProtocolException,
)
from ._ssl_compat import HAVE_SSL, ssl

__all__ = ["Attempts", "Backoff", "Next", "policy_of", "retryable"]

# What ended a connection or an attempt: an exception, or the code of the server's Close frame.
Reason = BaseException | int

_NO_STATUS: Final = 1005
# Service Restart and Try Again Later (RFC 6455 section 11.7, the IANA registry).
_CLOSED_FOR_NOW: Final = frozenset({1012, 1013})
# Request Timeout, Too Early and Too Many Requests: another time may do (RFC 9110, 8470, 6585).
_REFUSED_FOR_NOW: Final = frozenset({408, 425, 429})
# Retry-After counts up to here where a policy is a plain number of seconds.
_LONGEST: Final = 60.0


def retryable(reason: Reason) -> bool:
    """Whether dialling again may help: what policies ask that have no ``retry_on``.

    Parameters:
        reason: the exception, or the code of the server's Close frame (1005 if it had none).

    Returns:
        True for a connection that was lost or could not be made, and for the Close codes 1012
        and 1013. False for other Closes, for what the server broke the protocol with, and for
        refusals that won't heal: HTTP 3xx and 4xx but 408, 425 and 429, a certificate that
        can't be trusted, a URL or an option that makes no sense.
    """
    if isinstance(reason, int):
        return reason in _CLOSED_FOR_NOW
    if isinstance(reason, WebSocketBadStatusException):
        return not 300 <= reason.status_code < 500 or reason.status_code in _REFUSED_FOR_NOW
    if HAVE_SSL and isinstance(reason, ssl.SSLCertVerificationError):
        return False
    if isinstance(
        reason,
        (WebSocketArgumentException, WebSocketPayloadException, WebSocketProtocolException),
    ):
        return False
    # A wrong type of proxy is a ValueError, as all other settings that make no sense.
    return isinstance(reason, (WebSocketException, OSError)) and not isinstance(reason, ValueError)


@dataclass(frozen=True)
class Backoff:
    """How often and after what time to dial again. Immutable, so it can be shared.

    The wait before attempt n is ``initial * multiplier ** (n - 1)`` seconds, at most
    ``maximum``, of which chance takes a part.

    Parameters:
        initial: seconds before the first attempt.
        maximum: the longest wait in seconds. A server's ``Retry-After`` counts up to it.
        multiplier: by how much each wait is longer than the one before it.
        jitter: the part of a wait, from 0 to 1, that chance may take away, so that clients
            that were cut off together don't come back together.
        attempts: how many in a row, None for no end.
        retry_on: called with the exception, or with the code of the server's Close frame (1005
            if it had none); says whether to dial again. Default: ``retryable``.
        at_once: don't wait before the first attempt; ``initial`` is then the wait before the
            second.
        first: also dial again where the very first connection could not be made.
        lasting: a connection that was open for so many seconds makes the counting of attempts
            begin anew.
        timeout: seconds that an attempt to connect again may take where the program has set no
            timeout of its own; None for no limit. Without one, a server that accepts and then
            says nothing would be the end.

    Raises:
        WebSocketArgumentException: a value out of its range.
    """

    initial: float = 1.0
    maximum: float = 60.0
    multiplier: float = 2.0
    jitter: float = 0.5
    attempts: int | None = 6
    retry_on: Callable[[Reason], bool] | None = None
    at_once: bool = False
    first: bool = False
    lasting: float = 10.0
    timeout: float | None = 60.0

    def __post_init__(self) -> None:
        self._check("initial", self.initial, 0, math.inf)
        self._check("maximum", self.maximum, self.initial, math.inf)
        self._check("multiplier", self.multiplier, 1, math.inf)
        self._check("jitter", self.jitter, 0, 1)
        self._check("lasting", self.lasting, 0, math.inf)
        for name in ("attempts", "timeout"):
            if getattr(self, name) is not None:
                self._check(name, getattr(self, name), 0, math.inf)

    @staticmethod
    def _check(name: str, value: object, least: float, most: float) -> None:
        if isinstance(value, (int, float)) and least <= value <= most and value != math.inf:
            return
        limit = f"from {least:g} to {most:g}" if most != math.inf else f"of {least:g} or more"
        raise WebSocketArgumentException(f"{name} must be a number {limit}, not {value!r}")

    def delay(self, attempt: int, chance: float = 0.0) -> float:
        """The seconds to wait before an attempt.

        Parameters:
            attempt: 1 for the first one.
            chance: a random number from 0 to 1; 0 takes nothing away.
        """
        step = attempt - 1
        if self.at_once:
            if not step:
                return 0.0
            step -= 1
        try:
            wait = min(self.initial * self.multiplier**step, self.maximum)
        except OverflowError:
            wait = self.maximum if self.initial else 0.0
        return wait * (1 - self.jitter * chance)

    def wants(self, reason: Reason) -> bool:
        """Whether this policy dials again after ``reason``."""
        return bool((self.retry_on or retryable)(reason))


DEFAULT: Final = Backoff(at_once=True)
"""What is done where a program says nothing."""

_ENDLESS: Final = Backoff(at_once=True, attempts=None)


def policy_of(value: Backoff | float | None, default: Backoff | None = DEFAULT) -> Backoff | None:
    """The policy that a value of ``reconnect`` stands for; None for never.

    Parameters:
        value: a ``Backoff``; a number of seconds between attempts, without end and with the
            first connection included; True for the default policy without an end; 0 or False
            for never; None for ``default``.

    Raises:
        WebSocketArgumentException: it is none of these.
    """
    if value is None:
        return default
    if isinstance(value, Backoff):
        return value
    if value is True:
        return _ENDLESS
    if not isinstance(cast("object", value), (int, float)) or not 0 <= value < math.inf:
        raise WebSocketArgumentException(
            "reconnect must be a number of seconds, True, False, or a websocket.Backoff,"
            f" not {value!r}"
        )
    if not value:
        return None
    return Backoff(value, max(value, _LONGEST), 1, 0, None, first=True)


class Next(NamedTuple):
    """The attempt to make next.

    Attributes:
        number: 1 for the first one since a connection lasted.
        delay: seconds to wait before it.
    """

    number: int
    delay: float


@dataclass(frozen=True)
class Attempts:
    """How many attempts a policy has seen already. Immutable: each step returns a new one.

    Parameters:
        policy: None for one that never dials again.
        made: attempts since a connection lasted.
        begun: whether there has been an open connection.
    """

    policy: Backoff | None
    made: int = 0
    begun: bool = False

    def after(self, reason: Reason, lasted: float | None) -> Attempts | None:
        """The count with one more attempt, or None where there is to be no more.

        Parameters:
            reason: what ended the connection, or the attempt to make one.
            lasted: for how many seconds the connection was open; None if it never was.
        """
        policy = self.policy
        if policy is None or not (self.begun or lasted is not None or policy.first):
            return None
        if not policy.wants(reason):
            return None
        made = 0 if lasted is not None and lasted >= policy.lasting else self.made
        if policy.attempts is not None and made >= policy.attempts:
            return None
        return Attempts(policy, made + 1, self.begun or lasted is not None)

    def next(self, reason: Reason, chance: float, wall_time: float) -> Next:
        """The attempt that was just counted, and when it is due.

        Parameters:
            reason: as for ``after``; a refusal may carry a ``Retry-After``.
            chance: a random number from 0 to 1.
            wall_time: seconds since the epoch, as such a field may name a date.
        """
        assert self.policy is not None
        asked = retry_after(reason, wall_time)
        wait = self.policy.delay(self.made, chance)
        return Next(self.made, max(wait, min(asked, self.policy.maximum)))


def retry_after(reason: Reason, wall_time: float) -> float:
    """The seconds that a refusing server asks to wait (RFC 9110 section 10.2.3); 0 for none."""
    headers: object = getattr(reason, "resp_headers", None)
    if not isinstance(headers, Mapping):
        return 0.0
    value = str(cast("Mapping[str, str]", headers).get("retry-after", "")).strip()
    if value.isascii() and value.isdigit():
        # Longer numbers are years, and Python refuses to read very long ones.
        return float(value[:18])
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        return max(0.0, date.timestamp() - wall_time)
    except (ValueError, IndexError, TypeError, OverflowError):
        return 0.0
