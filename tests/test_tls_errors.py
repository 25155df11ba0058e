"""What a failed TLS handshake is said to mean, code by code; real ones are in test_nginx_tls."""

from __future__ import annotations

import ssl

import pytest

from websocket._tls_errors import explain, explained

NAME = "server.example"


def certificate_error(code: int, message: str = "what OpenSSL says") -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def tls_error(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    error = kind(1, f"[SSL: {reason}] words")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "no revocation list is loaded"),
        (9, "not valid yet"),
        (10, "has expired"),
        (18, "self-signed"),
        (19, "does not trust; set sslopt={'ca_certs'"),
        (20, "does not know"),
        (21, "without the certificates between"),
        (23, "revoked"),
        (26, "not made out for servers"),
        (62, "'server_hostname'"),
        (64, "does not have this IP address"),
        (66, "too weak"),
        (68, "too weak"),
        (99, "was not accepted: what OpenSSL says"),
    ],
)
def test_certificates(code: int, words: str) -> None:
    sentence = explain(certificate_error(code), NAME)
    assert sentence.startswith(f"The certificate of {NAME!r} ")
    assert words in sentence


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("WRONG_VERSION_NUMBER", "use ws://"),
        ("RECORD_LAYER_FAILURE", "use ws://"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "no TLS version in common"),
        ("UNSUPPORTED_PROTOCOL", "'minimum_version'"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "'certfile'"),
        ("TLSV1_ALERT_UNKNOWN_CA", "demands a certificate of the client"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "'ciphers'"),
        ("TLSV1_UNRECOGNIZED_NAME", "does not know the name"),
        ("SOMETHING_NEW", "handshake with 'server.example' failed"),
    ],
)
def test_alerts(reason: str, words: str) -> None:
    assert words in explain(tls_error(reason), NAME)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), ssl.SSLEOFError(8, "EOF")])
def test_the_end_of_the_connection(error: OSError) -> None:
    assert "does this port speak TLS?" in explain(error, NAME)


def test_the_sentence_becomes_part_of_the_text_once() -> None:
    error = certificate_error(10)
    explained(error, NAME)
    explained(error, NAME)
    text = str(error)
    assert text.startswith("certificate verify failed. The certificate of")
    assert text.count("has expired") == 1
    # Programs look for what OpenSSL said.
    assert (error.errno, error.verify_code) == (1, 10)


def test_an_error_without_a_text() -> None:
    error = ConnectionResetError()
    explained(error, NAME)
    assert "does this port speak TLS?" in (error.strerror or "")
