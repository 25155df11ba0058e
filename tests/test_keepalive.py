"""When pings are due, on a clock that the test moves."""

from __future__ import annotations

import pytest

from websocket._exceptions import WebSocketArgumentException
from websocket._keepalive import Due, Keepalive, check_settings


@pytest.mark.parametrize(
    ("interval", "timeout"), [(0, None), (None, None), (5, None), (5, 4.9), (0, 10), (0.2, 0.1)]
)
def test_settings_that_make_sense(interval: float | None, timeout: float | None) -> None:
    check_settings(interval, timeout)


@pytest.mark.parametrize(
    ("interval", "timeout", "name"),
    [
        (-1, None, "ping_interval"),
        (-0.001, 1, "ping_interval"),
        (5, 0, "ping_timeout"),
        (0, 0, "ping_timeout"),
        (5, -1, "ping_timeout"),
        (5, 5, "ping_interval"),
        (5, 6, "ping_interval"),
    ],
)
def test_settings_that_make_none(interval: float, timeout: float | None, name: str) -> None:
    with pytest.raises(WebSocketArgumentException, match=name) as caught:
        check_settings(interval, timeout)
    # The sentence shows the value that is wrong.
    assert str(interval if name == "ping_interval" else timeout) in str(caught.value)


def test_without_an_interval_nothing_is_ever_due() -> None:
    keepalive = Keepalive(0, 3, 100)
    assert keepalive.deadline() is None
    assert keepalive.due(1e9) is None


def test_the_first_ping_is_due_after_one_interval() -> None:
    keepalive = Keepalive(10, 3, 100)
    assert keepalive.deadline() == 110
    assert keepalive.due(109.9) is None
    assert keepalive.due(110) is Due.PING


def test_pings_go_on_while_they_are_answered() -> None:
    keepalive = Keepalive(10, 3, 100)
    for number in range(1, 5):
        now = 100.0 + 10 * number
        assert keepalive.due(now) is Due.PING
        keepalive.pinged(b"p", now)
        assert keepalive.deadline() == now + 3
        keepalive.heard(now + 1)
        keepalive.pong(b"p")
        assert keepalive.pinged_at is None
        assert keepalive.deadline() == now + 10
        assert keepalive.due(now + 9) is None


def test_no_answer_is_a_timeout() -> None:
    keepalive = Keepalive(10, 3, 100)
    keepalive.pinged(b"p", 110)
    assert keepalive.due(112.9) is None
    assert keepalive.due(113) is Due.TIMEOUT


def test_without_a_timeout_silence_is_endless() -> None:
    keepalive = Keepalive(10, None, 100)
    for now in (110, 120, 130):
        assert keepalive.due(now) is Due.PING
        keepalive.pinged(b"p", now)
        assert keepalive.deadline() == now + 10


def test_another_pong_is_no_answer() -> None:
    keepalive = Keepalive(10, 3, 100)
    keepalive.pinged(b"mine", 110)
    keepalive.pong(b"")
    keepalive.pong(b"theirs")
    assert keepalive.pinged_at == 110
    assert keepalive.due(113) is Due.TIMEOUT


def test_a_pong_that_nobody_asked_for_changes_nothing() -> None:
    keepalive = Keepalive(10, 3, 100)
    keepalive.pong(b"")
    assert keepalive.deadline() == 110
    assert keepalive.due(110) is Due.PING


def test_anything_received_is_a_sign_of_life() -> None:
    keepalive = Keepalive(10, 3, 100)
    keepalive.pinged(b"p", 110)
    keepalive.heard(112)
    assert keepalive.due(114.9) is None
    assert keepalive.deadline() == 115
    assert keepalive.due(115) is Due.TIMEOUT


def test_what_was_received_before_the_ping_does_not_shorten_its_time() -> None:
    keepalive = Keepalive(10, 3, 100)
    keepalive.heard(101)
    keepalive.pinged(b"p", 110)
    assert keepalive.due(112.9) is None
    assert keepalive.due(113) is Due.TIMEOUT


def test_pings_go_on_while_one_is_outstanding_and_the_peer_talks() -> None:
    keepalive = Keepalive(10, 9, 100)
    keepalive.pinged(b"1", 110)
    keepalive.heard(119)
    assert keepalive.due(120) is Due.PING
    keepalive.pinged(b"2", 120)
    # The second does not put off the time of the first, but what was heard does.
    assert keepalive.pinged_at == 110
    assert keepalive.due(127.9) is None
    assert keepalive.due(128) is Due.TIMEOUT


def test_a_late_loop_finds_the_timeout_before_the_next_ping() -> None:
    keepalive = Keepalive(10, 3, 100)
    keepalive.pinged(b"p", 110)
    assert keepalive.due(500) is Due.TIMEOUT
