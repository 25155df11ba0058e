"""RFC 8305 as a policy: the order of addresses and the times of attempts, on a made-up clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocket._happy_eyeballs import DELAY, Race, interleave


@pytest.mark.parametrize(
    ("given_order", "expected"),
    [
        ("", ""),
        ("6", "6"),
        ("6644", "6464"),
        ("4466", "4646"),
        ("6664", "6466"),
        ("4", "4"),
        ("44", "44"),
    ],
)
def test_families_take_turns(given_order: str, expected: str) -> None:
    assert "".join(interleave(given_order, lambda family: family)) == expected


@given(st.lists(st.tuples(st.sampled_from([4, 6]), st.integers())))
def test_nothing_is_lost_and_each_family_keeps_its_order(addresses: list[tuple[int, int]]) -> None:
    order = interleave(addresses, lambda address: address[0])
    for family in (4, 6):
        before = [address for address in addresses if address[0] == family]
        assert [address for address in order if address[0] == family] == before
    assert len(order) == len(addresses)


def test_attempts_follow_each_other_after_the_delay() -> None:
    race = Race(3)
    assert race.until_next(10) == 0
    assert race.begin(10) == 0
    assert race.begin(10) is None
    assert race.until_next(10) == DELAY
    assert race.until_next(10.1) == pytest.approx(DELAY - 0.1)
    assert race.begin(10 + DELAY - 0.01) is None
    assert race.begin(10 + DELAY) == 1
    # Late: the delay counts from the attempt that began, not from when it was due.
    assert race.begin(20) == 2
    assert race.until_next(20) is None
    assert race.begin(30) is None


def test_a_failure_makes_the_next_attempt_due() -> None:
    race = Race(3)
    race.begin(10)
    race.failed()
    assert race.until_next(10) == 0
    assert race.begin(10) == 1
    assert race.begin(10) is None


def test_no_attempt_at_all() -> None:
    race = Race(0)
    assert race.until_next(0) is None
    assert race.begin(0) is None


def test_another_delay() -> None:
    race = Race(2, delay=1)
    race.begin(0)
    assert race.until_next(0) == 1
