"""Digest authentication: reading challenges, and the answers of RFC 7616's examples."""

from __future__ import annotations

import hashlib
import time

import pytest

from websocket._protocol.digest import (
    Challenge,
    choose_digest,
    digest_credentials,
    parse_challenges,
)


def fields_of(credentials: str) -> dict[str, str]:
    (challenge,) = parse_challenges([credentials])
    assert challenge.scheme == "Digest"
    return dict(challenge.parameters)


# RFC 7616 section 3.9.1
RFC_NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
RFC_CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
RFC_OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_the_rfc(algorithm: str, response: str) -> None:
    challenge = Challenge(
        "Digest",
        {
            "realm": "http-auth@example.org",
            "qop": "auth, auth-int",
            "algorithm": algorithm,
            "nonce": RFC_NONCE,
            "opaque": RFC_OPAQUE,
        },
    )
    fields = fields_of(
        digest_credentials(
            challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", RFC_CNONCE
        )
    )
    assert fields == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "nonce": RFC_NONCE,
        "uri": "/dir/index.html",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": RFC_CNONCE,
        "response": response,
        "algorithm": algorithm,
        "opaque": RFC_OPAQUE,
    }


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_without_qop() -> None:
    """RFC 2069's form, which some proxies still use."""
    challenge = Challenge("Digest", {"realm": "r", "nonce": "n"})
    fields = fields_of(digest_credentials(challenge, "u", "p", "CONNECT", "h:1", "c"))
    assert fields["response"] == md5(f"{md5('u:r:p')}:n:{md5('CONNECT:h:1')}")
    assert not {"qop", "nc", "cnonce", "algorithm", "opaque"} & fields.keys()


def test_a_session_variant() -> None:
    challenge = Challenge(
        "Digest", {"realm": "r", "nonce": "n", "qop": "auth", "algorithm": "MD5-sess"}
    )
    fields = fields_of(digest_credentials(challenge, "u", "p", "CONNECT", "h:1", "c"))
    secret = md5(f"{md5('u:r:p')}:n:c")
    assert fields["response"] == md5(f"{secret}:n:00000001:c:auth:{md5('CONNECT:h:1')}")
    assert fields["algorithm"] == "MD5-sess"


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, "username*=UTF-8''j%C3%BCrgen"),
        ({"userhash": "true"}, f'username="{md5("jürgen:r")}", userhash=true'),
    ],
)
def test_names_beyond_ascii(extra: dict[str, str], expected: str) -> None:
    challenge = Challenge("Digest", {"realm": "r", "nonce": "n", **extra})
    assert expected in digest_credentials(challenge, "jürgen", "p", "CONNECT", "h:1", "c")


def test_quotes_are_escaped() -> None:
    challenge = Challenge("Digest", {"realm": 'a "b" \\', "nonce": "n"})
    credentials = digest_credentials(challenge, 'u"', "p", "CONNECT", "h:1", "c")
    assert r'username="u\"", realm="a \"b\" \\"' in credentials
    assert fields_of(credentials)["realm"] == 'a "b" \\'


@pytest.mark.parametrize(
    ("values", "schemes"),
    [
        ([], []),
        (["Basic"], ["Basic"]),
        (['Basic realm="a, Digest b"'], ["Basic"]),
        (["Negotiate, NTLM, Basic realm=x"], ["Negotiate", "NTLM", "Basic"]),
        (["Negotiate YII+/==, Basic realm=x"], ["Negotiate", "Basic"]),
        (["Basic realm=x", "Digest realm=y, nonce=z"], ["Basic", "Digest"]),
        ([" , ,Basic , realm = x"], ["Basic"]),
        (["=;=", '"', "realm=x"], []),
        (['Basic realm="never ended'], ["Basic", "realm"]),
    ],
)
def test_challenges(values: list[str], schemes: list[str]) -> None:
    assert [challenge.scheme for challenge in parse_challenges(values)] == schemes


def test_parameters() -> None:
    (challenge,) = parse_challenges(['Digest Realm="a \\"b\\"", NONCE=n, stale=FALSE, realm=twice'])
    assert challenge.parameters == {"realm": 'a "b"', "nonce": "n", "stale": "FALSE"}


@pytest.mark.parametrize("value", ["," * 60000, " " * 60000, "a" * 60000, 'a="' + "\\" * 60000])
def test_reading_takes_linear_time(value: str) -> None:
    began = time.monotonic()
    parse_challenges([value])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("values", "nonce"),
    [
        (["Basic realm=x"], None),
        (["Digest realm=x"], None),
        (["Digest nonce=n"], None),
        (["Digest realm=x, nonce=n, qop=auth-int"], None),
        (["Digest realm=x, nonce=n, algorithm=SHA-512-256"], None),
        (["Digest realm=x, nonce=n, qop=auth"], "n"),
        (["digest realm=x, nonce=1, algorithm=md5", "Digest realm=x, nonce=2"], "1"),
        (["Digest realm=x, nonce=1", "Digest realm=x, nonce=2, algorithm=SHA-256"], "2"),
        (["Digest realm=x, nonce=1", "Digest realm=x, nonce=2, algorithm=sha-256-SESS"], "2"),
    ],
)
def test_the_strongest_that_can_be_answered(values: list[str], nonce: str | None) -> None:
    chosen = choose_digest(parse_challenges(values))
    assert (chosen and chosen.parameters["nonce"]) == nonce
