"""TLS against nginx: what must connect, and what must be refused with a sentence that helps."""

from __future__ import annotations

import datetime
import ssl
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.loops import loop_makers, run_on
from support.reverse_proxies import nginx, plain_server, recipe, tls_server

import websocket
from websocket import _tls_cache, aio
from websocket.testing import Server

DEADLINE = 20.0
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)

LOOPS = loop_makers()

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nginx is a Unix daemon")


class Authority:
    """What signs, with what it takes to take a signature back."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        self.middle = self.ca.create_child_ca()

    def revocation_list(self, *certificates: bytes) -> bytes:
        """A list of this authority that takes these certificates back."""
        issuer = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(NOW - DAY)
            .next_update(NOW + DAY)
        )
        for pem in certificates:
            certificate = x509.load_pem_x509_certificate(pem)
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(NOW - DAY)
                .build()
            )
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def self_signed() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


class Site(NamedTuple):
    ports: dict[str, int]
    folder: Path
    fingerprints: dict[str, str]

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    def file(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("nginx")
    authority = Authority()
    ca, middle = authority.ca, authority.middle
    rsa = ca.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
    ecdsa = ca.issue_cert("localhost", "127.0.0.1")
    expired = ca.issue_cert("localhost", not_before=NOW - 2 * DAY, not_after=NOW - DAY)
    future = ca.issue_cert("localhost", not_before=NOW + DAY, not_after=NOW + 2 * DAY)
    chained = middle.issue_cert("localhost")
    leaf, *between = [blob.bytes() for blob in chained.cert_chain_pems]
    own, own_key = self_signed()
    revoked = ca.issue_cert("localhost")

    def pem(certificate: trustme.LeafCert) -> tuple[bytes, bytes]:
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        return chain, certificate.private_key_pem.bytes()

    key = chained.private_key_pem.bytes()
    tls12, tls13 = "ssl_protocols TLSv1.2", "ssl_protocols TLSv1.3"
    cases: dict[str, tuple[tuple[bytes, bytes], list[str]]] = {
        "RSA, TLS 1.2": (pem(rsa), [tls12]),
        "RSA, TLS 1.3": (pem(rsa), [tls13]),
        "ECDSA, TLS 1.2": (pem(ecdsa), [tls12]),
        "ECDSA, TLS 1.3": (pem(ecdsa), [tls13]),
        "client": (
            pem(ecdsa),
            [f"ssl_client_certificate {folder}/ca.pem", "ssl_verify_client on"],
        ),
        "expired": (pem(expired), []),
        "future": (pem(future), []),
        "wrong host": (pem(ca.issue_cert("other.example")), []),
        "self-signed": ((own, own_key), []),
        "unknown CA": (pem(trustme.CA().issue_cert("localhost")), []),
        "revoked": (pem(revoked), []),
        "chain": ((leaf + b"".join(between), key), []),
        "chain, wrong order": ((leaf + ca.cert_pem.bytes() + b"".join(between), key), []),
        "chain, incomplete": ((leaf, key), []),
    }
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    ca.issue_cert("client@example.com").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "client.pem")
    )
    (folder / "own.pem").write_bytes(own)
    (folder / "crl.pem").write_bytes(authority.revocation_list(pem(revoked)[0]))
    fingerprints = {}
    with Server() as server:
        location = recipe("nginx", server.port)
        blocks = []
        for number, (name, ((chain, private), settings)) in enumerate(cases.items()):
            (folder / f"{number}.pem").write_bytes(chain)
            (folder / f"{number}.key").write_bytes(private)
            first = x509.load_pem_x509_certificate(chain)
            fingerprints[name] = first.fingerprint(hashes.SHA256()).hex()
            files = folder / f"{number}.pem", folder / f"{number}.key"
            blocks.append(tls_server(location, *files, *settings))
        names = [*cases, "no TLS"]
        with nginx(folder, [*blocks, plain_server(location)]) as ports:
            yield Site(dict(zip(names, ports, strict=True)), folder, fingerprints)


def connect(site: Site, name: str, host: str = "localhost", **sslopt: Any) -> websocket.WebSocket:
    sslopt.setdefault("ca_certs", site.ca_file)
    ws = websocket.create_connection(
        f"wss://{host}:{site.ports[name]}/", sslopt=sslopt, timeout=DEADLINE
    )
    ws.send("hello")
    assert ws.recv() == "hello"
    return ws


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("key", ["RSA", "ECDSA"])
def test_versions_and_keys(site: Site, key: str, version: str, host: str) -> None:
    ws = connect(site, f"{key}, {version.replace('v', ' ')}", host)
    assert ws.sock.version() == version
    # nginx answers with a protocol only where it was offered one that it knows.
    assert ws.sock.selected_alpn_protocol() == "http/1.1"
    ws.close()


@pytest.mark.parametrize("name", ["chain", "chain, wrong order"])
def test_chains(site: Site, name: str) -> None:
    connect(site, name).close()


def test_a_certificate_of_the_client(site: Site) -> None:
    connect(site, "client", certfile=site.file("client.pem")).close()


def test_a_self_signed_certificate_that_is_trusted(site: Site) -> None:
    connect(site, "self-signed", ca_certs=site.file("own.pem")).close()


@pytest.mark.parametrize("form", ["plain", "colons", "upper", "sha256:", "list"])
def test_a_pinned_certificate(site: Site, form: str) -> None:
    digits = site.fingerprints["self-signed"]
    pairs = ":".join(digits[i : i + 2] for i in range(0, 64, 2))
    pin: Any = {
        "plain": digits,
        "colons": pairs,
        "upper": pairs.upper(),
        "sha256:": f"sha256:{digits}",
        "list": ["0" * 64, digits],
    }[form]
    connect(site, "self-signed", cert_reqs=ssl.CERT_NONE, fingerprint=pin).close()


def crl_context(site: Site) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=site.ca_file)
    context.load_verify_locations(site.file("crl.pem"))
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    return context


REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("expired", {}, "'localhost' has expired"),
    ("future", {}, "'localhost' is not valid yet. Check this machine's clock"),
    ("wrong host", {}, "made out to another name.*'server_hostname'"),
    ("self-signed", {}, "is self-signed.*'ca_certs': its file.*'fingerprint'"),
    ("unknown CA", {}, "an authority that this machine does not know.*'ca_certs'"),
    ("chain, incomplete", {}, "leaves out the certificates in between.*complete the server's"),
    ("revoked", {"context": crl_context}, "was revoked by its authority"),
    ("chain", {"fingerprint": "0" * 64}, "another fingerprint than sslopt.'fingerprint'"),
    ("RSA, TLS 1.2", {"minimum_version": "TLSv1.3"}, "no TLS version in common.*minimum_version"),
    ("no TLS", {}, "is not TLS; use ws://"),
]


@pytest.mark.parametrize(("name", "sslopt", "words"), REFUSALS, ids=lambda value: str(value)[:20])
def test_refusals_say_what_to_set(
    site: Site, name: str, sslopt: dict[str, Any], words: str
) -> None:
    options = {key: value(site) if callable(value) else value for key, value in sslopt.items()}
    with pytest.raises(ssl.SSLError, match=f"(?s){words}"):
        connect(site, name, **options)


def test_an_address_that_the_certificate_does_not_have(site: Site) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="does not have this IP address"):
        connect(site, "chain", "127.0.0.1")


def test_a_missing_certificate_of_the_client(site: Site) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(site, "client")
    assert caught.value.status_code == 400
    assert b"No required SSL certificate was sent" in (caught.value.resp_body or b"")


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, sslopt, words in REFUSALS if not sslopt]
)
def test_wsdump_says_the_same(site: Site, name: str, words: str) -> None:
    import re

    done = subprocess.run(
        [sys.executable, "-m", "websocket", f"wss://localhost:{site.ports[name]}/"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={"WEBSOCKET_CLIENT_CA_BUNDLE": site.ca_file, "PATH": ""},
    )
    assert done.returncode == 3
    assert re.search(words, done.stderr), done.stderr


@pytest.mark.parametrize("version", ["TLS 1.2", "TLS 1.3"])
def test_a_session_is_resumed(site: Site, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tls_cache, "_sessions", weakref.WeakKeyDictionary())
    for round_number in range(3):
        ws = connect(site, f"ECDSA, {version}")
        assert ws.sock.session_reused is (round_number > 0)
        assert ws.sock.getpeercert()["subjectAltName"]
        ws.close()


@pytest.mark.parametrize("version", ["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("loop", LOOPS)
def test_asyncio_resumes_the_same_sessions(
    site: Site, version: str, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tls_cache, "_sessions", weakref.WeakKeyDictionary())
    name = f"ECDSA, {version}"

    async def main(fingerprint: str) -> Any:
        sslopt = {"ca_certs": site.ca_file, "fingerprint": fingerprint}
        async with aio.connect(f"wss://localhost:{site.ports[name]}/", sslopt=sslopt) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            assert type(ws.get_extra_info("sslcontext")) is ssl.SSLContext
            tls = ws.get_extra_info("ssl_object")
            assert tls.getpeercert()["subjectAltName"]
            return tls.session_reused

    pin = site.fingerprints[name]
    resumed = [run_on(LOOPS[loop], main(pin), DEADLINE) for _ in range(3)]
    assert resumed == [False, True, True]
    ws = connect(site, name, fingerprint=pin)
    assert ws.sock.session_reused is True
    ws.close()
    with pytest.raises(ssl.SSLCertVerificationError, match="another fingerprint"):
        run_on(LOOPS[loop], main("0" * 64), DEADLINE)


@pytest.mark.parametrize("version", ["TLS 1.2", "TLS 1.3"])
def test_a_pin_counts_for_a_resumed_session_too(site: Site, version: str) -> None:
    name = f"ECDSA, {version}"
    connect(site, name).close()
    ws = connect(site, name, fingerprint=site.fingerprints[name])
    assert ws.sock.session_reused is True
    ws.close()
    with pytest.raises(ssl.SSLCertVerificationError, match="another fingerprint"):
        connect(site, name, fingerprint="0" * 64)


def test_a_session_is_not_shared_with_other_checks(site: Site) -> None:
    connect(site, "ECDSA, TLS 1.3").close()
    for sslopt in ({"cert_reqs": ssl.CERT_NONE}, {"check_hostname": False}):
        ws = connect(site, "ECDSA, TLS 1.3", **sslopt)
        assert ws.sock.session_reused is False
        ws.close()
