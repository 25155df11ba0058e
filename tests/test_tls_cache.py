"""Contexts are made once for the same options and files; sessions go to nobody else."""

from __future__ import annotations

import os
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from websocket import _tls_cache
from websocket._tls import build_context, prepare
from websocket._tls_cache import context_for, keep_session, take_session


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tls_cache, "_contexts", type(_tls_cache._contexts)())
    monkeypatch.delenv("WEBSOCKET_CLIENT_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    # Whether it is installed must make no difference.
    monkeypatch.setitem(sys.modules, "truststore", None)


def ca_file(folder: Path) -> str:
    path = folder / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


def test_the_same_options_share_a_context(tmp_path: Path) -> None:
    path = ca_file(tmp_path)
    first = prepare({"ca_certs": path}, "a.example").context
    assert prepare({"ca_certs": path, "server_hostname": "b"}, "b.example").context is first
    assert prepare({"ca_certs": path, "check_hostname": False}, "a.example").context is not first
    assert prepare({}, "a.example").context is not first


def test_a_file_that_has_changed(tmp_path: Path) -> None:
    path = ca_file(tmp_path)
    first = prepare({"ca_certs": path}, "a.example").context
    os.utime(path, (1, 1))
    second = prepare({"ca_certs": path}, "a.example").context
    assert second is not first
    ca_file(tmp_path)
    assert prepare({"ca_certs": path}, "a.example").context is not second


def test_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepare({}, "a.example").context
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", ca_file(tmp_path))
    assert prepare({}, "a.example").context is not before
    monkeypatch.delenv("WEBSOCKET_CLIENT_CA_BUNDLE")
    assert prepare({}, "a.example").context is before


def test_options_that_can_not_be_compared() -> None:
    made = [context_for({"cert_chain": []}, build_context) for _ in range(2)]
    assert made[0] is not made[1]


def test_contexts_with_a_lock_of_their_own_are_not_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Truststore:
        class SSLContext(ssl.SSLContext):
            pass

    monkeypatch.setitem(sys.modules, "truststore", Truststore)
    made = [prepare({}, "a.example").context for _ in range(2)]
    assert all(isinstance(context, Truststore.SSLContext) for context in made)
    assert made[0] is not made[1]


def test_the_store_is_bounded(tmp_path: Path) -> None:
    path = ca_file(tmp_path)
    contexts = [
        context_for({"ca_certs": path, "ciphers": "DEFAULT", "x": number}, build_context)
        for number in range(20)
    ]
    assert len(set(map(id, contexts))) == 20
    assert len(_tls_cache._contexts) == _tls_cache._MAX_CONTEXTS


class Connection:
    """What a TLS socket tells of itself."""

    def __init__(self, context: ssl.SSLContext, name: str, session: Any = "session") -> None:
        self.context = context
        self.server_hostname = name
        self.session = session

    def version(self) -> str:
        return "TLSv1.2"


def test_a_session_is_offered_once_and_for_its_name() -> None:
    context = build_context({})
    keep_session(Connection(context, "a.example"))
    assert take_session(context, "b.example") is None
    assert take_session(build_context({}), "a.example") is None
    assert take_session(context, "a.example") == "session"
    assert take_session(context, "a.example") is None


def test_a_session_is_not_offered_once_checks_have_changed() -> None:
    context = build_context({"check_hostname": False})
    keep_session(Connection(context, "a.example"))
    context.check_hostname = True
    assert take_session(context, "a.example") is None


def test_what_has_no_session() -> None:
    context = build_context({})
    keep_session(Connection(context, "a.example", None))
    assert take_session(context, "a.example") is None
    keep_session(object())

    class Own(ssl.SSLContext):
        """Such as one that judges certificates by itself."""

    own = Own(ssl.PROTOCOL_TLS_CLIENT)
    keep_session(Connection(own, "a.example"))
    assert take_session(own, "a.example") is None


def test_sessions_are_bounded() -> None:
    context = build_context({})
    for number in range(200):
        keep_session(Connection(context, f"{number}.example"))
    assert len(_tls_cache._sessions[context]) == _tls_cache._MAX_SESSIONS


def test_many_threads() -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(prepare({}, "a.example").context))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert prepare({}, "a.example").context in found
