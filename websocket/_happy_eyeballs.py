"""Happy Eyeballs (RFC 8305): in which order the addresses of a name are dialled, and when.

A policy without sockets: time is passed in, the drivers are in ``_dial`` and the asyncio face.
A name often has addresses of two families, and one of the two may lead nowhere without an
error. So attempts overlap: each begins a quarter of a second after the one before, or at once
when that has failed, and the first that connects wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import Any, Final, TypeVar

DELAY: Final = 0.25
"""Seconds between two attempts (section 5, "Connection Attempt Delay")."""

_T = TypeVar("_T")


def interleave(addresses: Iterable[_T], family: Callable[[_T], Any]) -> list[_T]:
    """The addresses with their families taking turns (section 4).

    Args:
        addresses: in the order of preference, which the resolver knows (RFC 6724). The family
            of the first one begins, and each family keeps its own order.
        family: tells the family of an address.
    """
    families: dict[Any, list[_T]] = {}
    for address in addresses:
        families.setdefault(family(address), []).append(address)
    missing: Any = object()
    turns = chain.from_iterable(zip_longest(*families.values(), fillvalue=missing))
    return [address for address in turns if address is not missing]


class Race:
    """When the next of so many attempts may begin.

    Args:
        attempts: how many there are.
        delay: seconds between two of them.
    """

    def __init__(self, attempts: int, delay: float = DELAY) -> None:
        self._attempts = attempts
        self._delay = delay
        self._begun = 0
        self._due: float | None = None

    def begin(self, now: float) -> int | None:
        """The number of the attempt to begin now, counted from 0; None if none is due."""
        if self._begun == self._attempts or (self._due is not None and now < self._due):
            return None
        self._due = now + self._delay
        self._begun += 1
        return self._begun - 1

    def failed(self) -> None:
        """An attempt has failed: nothing is to be waited for."""
        self._due = None

    def until_next(self, now: float) -> float | None:
        """Seconds until ``begin`` has something to begin, None if all have begun."""
        if self._begun == self._attempts:
            return None
        return 0.0 if self._due is None else max(0.0, self._due - now)
