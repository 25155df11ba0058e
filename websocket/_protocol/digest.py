"""Digest authentication with a proxy (RFC 7616): reading challenges and computing the answer.

MD5 and SHA-256, each with its ``-sess`` variant, with ``qop=auth`` or without any.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ITEM: Final = re.compile(
    rf"""[\s,]*(?:
        (?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))
        |(?P<scheme>{_TOKEN})(?:[ ]+[A-Za-z0-9._~+/\-]+=*(?=\s*(?:,|\Z)))?
    )""",
    re.VERBOSE | re.DOTALL,
)
_HASHES: Final = {"SHA-256": "sha256", "MD5": "md5"}


class Challenge(NamedTuple):
    """What a peer asks for: a scheme, and its parameters with their names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """The challenges of all Proxy-Authenticate fields (RFC 9110 section 11.6.1).

    A field may have several of them. Reading ends where the grammar does.
    """
    found: list[Challenge] = []
    for value in values:
        parameters: dict[str, str] | None = None
        position = 0
        while match := _ITEM.match(value, position):
            position = match.end()
            if match["scheme"] is not None:
                parameters = {}
                found.append(Challenge(match["scheme"], parameters))
            elif parameters is not None:
                quoted = match["quoted"]
                text = match["plain"] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                parameters.setdefault(match["name"].lower(), text)
    return found


def choose_digest(challenges: Iterable[Challenge]) -> Challenge | None:
    """The strongest Digest challenge that can be answered, if there is one."""
    usable = [challenge for challenge in challenges if _is_usable(challenge)]
    order = list(_HASHES)
    usable.sort(key=lambda challenge: order.index(_algorithm(challenge).removesuffix("-SESS")))
    return usable[0] if usable else None


def _is_usable(challenge: Challenge) -> bool:
    parameters = challenge.parameters
    return (
        challenge.scheme.lower() == "digest"
        and "realm" in parameters
        and "nonce" in parameters
        and _algorithm(challenge).removesuffix("-SESS") in _HASHES
        and ("qop" not in parameters or "auth" in _qualities(parameters["qop"]))
    )


def _algorithm(challenge: Challenge) -> str:
    return challenge.parameters.get("algorithm", "MD5").upper()


def _qualities(qop: str) -> list[str]:
    return [quality.strip().lower() for quality in qop.split(",")]


def digest_credentials(
    challenge: Challenge, username: str, password: str, method: str, uri: str, cnonce: str
) -> str:
    """The value of Proxy-Authorization that answers ``challenge`` (RFC 7616 section 3.4).

    Args:
        challenge: one that ``choose_digest`` returned.
        username: name of the user.
        password: its password.
        method: method of the request.
        uri: target of the request, as its request line has it.
        cnonce: a random token of the client's.
    """
    parameters = challenge.parameters
    algorithm = _algorithm(challenge)
    realm, nonce = parameters["realm"], parameters["nonce"]

    def hashed(*parts: str) -> str:
        name = _HASHES[algorithm.removesuffix("-SESS")]
        return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret = hashed(username, realm, password)
    if algorithm.endswith("-SESS"):
        secret = hashed(secret, nonce, cnonce)
    request = hashed(method, uri)
    fields = [
        _username_field(parameters, username, hashed(username, realm)),
        f"realm={_quoted(realm)}",
        f"nonce={_quoted(nonce)}",
        f"uri={_quoted(uri)}",
    ]
    if "qop" in parameters:
        response = hashed(secret, nonce, "00000001", cnonce, "auth", request)
        fields += ["qop=auth", "nc=00000001", f"cnonce={_quoted(cnonce)}"]
    else:
        response = hashed(secret, nonce, request)
        if algorithm.endswith("-SESS"):
            fields.append(f"cnonce={_quoted(cnonce)}")
    fields.append(f'response="{response}"')
    if "algorithm" in parameters:
        fields.append(f"algorithm={parameters['algorithm']}")
    if "opaque" in parameters:
        fields.append(f"opaque={_quoted(parameters['opaque'])}")
    return "Digest " + ", ".join(fields)


def _username_field(parameters: Mapping[str, str], username: str, user_hash: str) -> str:
    """The user's name as the proxy wants it (sections 3.4.2 and 3.4.4)."""
    if parameters.get("userhash", "").lower() == "true":
        return f'username="{user_hash}", userhash=true'
    if username.isascii():
        return f"username={_quoted(username)}"
    return f"username*=UTF-8''{quote(username, safe='')}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
