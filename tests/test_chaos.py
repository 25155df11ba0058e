"""Random scenarios, a fixed seed and a fresh one; CI plays more of them, see ``chaos.py``."""

from __future__ import annotations

import random

import chaos
import pytest
from support.scenarios import Broken, Seen

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.parametrize("seed", [20261125, None], ids=["fixed", "fresh"])
def test_what_holds_whatever_the_line_does(seed: int | None) -> None:
    if seed is None:
        seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    outcomes = chaos.play_all(seed, rounds=30, seconds=8)
    assert outcomes


def messages(seen: Seen, *texts: str) -> None:
    for text in texts:
        if text == "loss":
            seen.lost()
        else:
            seen.message(text + ":")


@pytest.mark.parametrize(
    "texts",
    [
        ("0:0", "0:0"),
        ("0:0", "0:2"),
        ("0:1",),
        ("0:0", "1:0"),
        ("1:0", "loss", "0:0"),
        ("0:0", "0:1", "loss", "1:0", "0:2"),
    ],
)
def test_the_invariant_can_be_broken(texts: tuple[str, ...]) -> None:
    with pytest.raises(Broken):
        messages(Seen(), *texts)


def test_the_invariant_can_hold() -> None:
    messages(Seen(), "0:0", "0:1", "loss", "2:0", "loss", "loss", "3:0", "3:1")


@pytest.mark.parametrize(
    "order",
    [
        ["message"],
        ["again"],
        ["open", "open"],
        ["open", "error", "open"],
        ["open", "error", "message"],
    ],
)
def test_an_order_of_callbacks_can_be_wrong(order: list[str]) -> None:
    with pytest.raises(Broken):
        chaos.check_order(order)


def test_an_order_of_callbacks_can_be_right() -> None:
    chaos.check_order(["error", "open", "message", "error", "error", "again", "message"])
