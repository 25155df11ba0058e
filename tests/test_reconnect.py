"""The policy of reconnecting: what is retried, how often and when. No clock, no socket."""

from __future__ import annotations

import dataclasses
import math
import ssl
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import websocket
from websocket import Backoff, retryable
from websocket._reconnect import DEFAULT, Attempts, policy_of, retry_after


def refusal(status: int, **headers: str) -> websocket.WebSocketBadStatusException:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return websocket.WebSocketBadStatusException(f"Handshake status {status}", status, "", fields)


LOST = websocket.WebSocketConnectionClosedException("Connection to remote host was lost.")


@pytest.mark.parametrize(
    "reason",
    [
        LOST,
        websocket.WebSocketTimeoutException("ping/pong timed out"),
        websocket.WebSocketAddressException("no address"),
        websocket.WebSocketHandshakeException("half a response"),
        websocket.WebSocketProxyException("the proxy is busy"),
        ConnectionRefusedError(),
        ConnectionResetError(),
        TimeoutError(),
        ssl.SSLEOFError(),
        refusal(408),
        refusal(425),
        refusal(429),
        refusal(500),
        refusal(503),
        refusal(200),
        1012,
        1013,
    ],
    ids=repr,
)
def test_what_may_heal(reason: Any) -> None:
    assert retryable(reason)
    assert DEFAULT.wants(reason)


@pytest.mark.parametrize(
    "reason",
    [
        *(refusal(status) for status in (302, 400, 401, 403, 404, 407, 410, 426, 451)),
        ssl.SSLCertVerificationError(),
        websocket.WebSocketURLException("http://"),
        websocket.WebSocketArgumentException("an option"),
        websocket.WebSocketProxyTypeException("socks6"),
        websocket.WebSocketProtocolException("a masked frame"),
        websocket.WebSocketMessageTooBigException("too big"),
        websocket.WebSocketPayloadException("no UTF-8"),
        KeyError("a bug in a callable of the program's"),
        KeyboardInterrupt(),
        *(1000, 1001, 1002, 1005, 1008, 1011, 1014, 3000, 4999),
    ],
    ids=repr,
)
def test_what_will_not(reason: Any) -> None:
    assert not retryable(reason)
    assert not DEFAULT.wants(reason)


def test_a_judge_of_the_program_decides_alone() -> None:
    asked: list[Any] = []

    def judge(reason: Any) -> bool:
        asked.append(reason)
        return reason in (404, 1000)

    policy = Backoff(retry_on=judge)
    error = refusal(404)
    assert not policy.wants(error)
    assert policy.wants(1000)
    assert not policy.wants(LOST)
    assert asked == [error, 1000, LOST]


def test_delays_grow_to_the_cap() -> None:
    policy = Backoff(0.5, 3, 2, 0, 10)
    assert [policy.delay(n) for n in range(1, 7)] == [0.5, 1, 2, 3, 3, 3]


def test_the_default_is_at_once_and_then_grows() -> None:
    assert [DEFAULT.delay(n) for n in range(1, 9)] == [0, 1, 2, 4, 8, 16, 32, 60]
    assert DEFAULT.attempts == 6
    assert DEFAULT.lasting == 10


def test_chance_takes_a_part_away() -> None:
    policy = Backoff(10, jitter=0.3)
    assert policy.delay(1, 0.0) == 10
    assert policy.delay(1, 0.5) == pytest.approx(8.5)
    assert policy.delay(1, 1.0) == pytest.approx(7)


@given(
    st.integers(1, 10**9),
    st.floats(0, 1),
    st.floats(0, 1e6),
    st.floats(1, 1e6),
    st.floats(0, 1),
)
def test_delays_stay_in_their_bounds(
    attempt: int, chance: float, initial: float, multiplier: float, jitter: float
) -> None:
    policy = Backoff(initial, initial + 100, multiplier, jitter, None)
    delay = policy.delay(attempt, chance)
    assert 0 <= delay <= policy.maximum
    assert math.isfinite(delay)
    assert delay <= policy.delay(attempt + 1, 0)


def test_a_policy_can_not_be_changed() -> None:
    policy: Any = Backoff()
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.initial = 3
    assert policy == Backoff()
    assert hash(policy) == hash(Backoff())


@pytest.mark.parametrize(
    "options",
    [
        {"initial": -1},
        {"initial": math.nan},
        {"initial": math.inf},
        {"initial": "1"},
        {"maximum": 0.5},
        {"maximum": math.inf},
        {"multiplier": 0.9},
        {"jitter": -0.1},
        {"jitter": 1.1},
        {"attempts": -1},
        {"lasting": -1},
    ],
)
def test_values_that_make_no_sense(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be a number"):
        Backoff(**options)


# What ``reconnect`` stands for


def test_values_of_reconnect() -> None:
    assert policy_of(None) is DEFAULT
    assert policy_of(None, None) is None
    assert policy_of(0) is policy_of(False) is policy_of(0.0) is None
    assert policy_of(True) == dataclasses.replace(DEFAULT, attempts=None)
    own = Backoff(3)
    assert policy_of(own) is own


def test_a_number_is_the_time_between_attempts_without_end() -> None:
    policy = policy_of(5)
    assert policy is not None
    assert {policy.delay(n, chance) for n in (1, 2, 1000) for chance in (0.0, 0.9)} == {5}
    assert policy.attempts is None
    assert policy.first
    assert policy_of(300).maximum == 300  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", [], Backoff])
def test_values_of_reconnect_that_make_no_sense(value: Any) -> None:
    with pytest.raises(websocket.WebSocketArgumentException, match="reconnect must be"):
        policy_of(value)


# Counting


def step(count: Attempts | None, reason: Any = LOST, lasted: float | None = None) -> Attempts:
    assert count is not None
    after = count.after(reason, lasted)
    assert after is not None
    return after


def test_a_first_connection_that_fails_is_not_retried() -> None:
    assert Attempts(DEFAULT).after(LOST, None) is None
    assert Attempts(policy_of(True)).after(LOST, None) is None
    assert step(Attempts(policy_of(1))).made == 1
    assert step(Attempts(Backoff(first=True))).made == 1


def test_never() -> None:
    assert Attempts(None).after(LOST, 100) is None


def test_six_attempts_after_a_loss() -> None:
    count = step(Attempts(DEFAULT), lasted=100)
    for made in range(1, 6):
        assert count.made == made
        count = step(count)
    assert count.after(LOST, None) is None


def test_connections_that_do_not_last_use_the_attempts_up() -> None:
    count = step(Attempts(DEFAULT), lasted=0.5)
    for _ in range(5):
        count = step(count, lasted=9.9)
    assert count.after(LOST, 9.9) is None
    assert step(count, lasted=10).made == 1


def test_an_end_for_good_in_between() -> None:
    count = step(Attempts(DEFAULT), 1012, lasted=1)
    assert count.after(refusal(404), None) is None
    assert count.after(1000, 1) is None


def test_no_attempts_at_all() -> None:
    assert Attempts(Backoff(attempts=0)).after(LOST, 100) is None


def test_the_time_of_an_attempt() -> None:
    count = step(Attempts(Backoff(2, 10, 3, 0.5)), lasted=1)
    assert count.next(LOST, 0.0, 0) == (1, 2)
    assert step(count).next(LOST, 1.0, 0) == (2, 3)


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        (formatdate(1030, usegmt=True), 30),
        (formatdate(900, usegmt=True), 0),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("٣", 0),
        ("Thu, 99 Foo 1970 99:99:99 GMT", 0),
        ("Thu, 01 Jan 1970 00:17:10 -0000", 30),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after(refusal(503, retry_after=value), 1000) == seconds


def test_an_absurd_retry_after_is_cut() -> None:
    count = step(Attempts(Backoff(1, 60, jitter=0, first=True)))
    assert count.next(refusal(503, retry_after="9" * 5000), 0, 0) == (1, 60)
    assert count.next(refusal(503, retry_after="20"), 0, 0) == (1, 20)
    assert count.next(refusal(503, retry_after="0"), 0, 0) == (1, 1)


@pytest.mark.parametrize("reason", [LOST, 1013, refusal(503), OSError()])
def test_no_retry_after(reason: Any) -> None:
    assert retry_after(reason, 1000) == 0


@given(st.text())
def test_any_retry_after_is_survived(value: str) -> None:
    seconds = retry_after(refusal(503, retry_after=value), 1000)
    assert seconds >= 0
