"""What a failed TLS handshake means: which check failed, and what to set."""

from __future__ import annotations

from typing import Final

from ._ssl_compat import SSLEOFError, ssl

# OpenSSL's verification codes (X509_V_ERR_...).
_NOT_YET_VALID, _EXPIRED, _REVOKED = 9, 10, 23
_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER, _NO_LEAF_SIGNATURE = 18, 19, 20, 21
_NO_CRL, _NOT_A_SERVER, _HOSTNAME, _ADDRESS = 3, 26, 62, 64
_TOO_WEAK = (66, 67, 68)

_TRUST: Final = "set sslopt={'ca_certs': the file of the authority} to trust it"
_CERTIFICATE: Final = {
    _NOT_YET_VALID: "is not valid yet. Check this machine's clock, or renew it on the server.",
    _EXPIRED: "has expired. It has to be renewed on the server; check this machine's clock, too.",
    _REVOKED: "was revoked by its authority. It has to be replaced on the server.",
    _SELF_SIGNED: "is self-signed, no authority vouches for it. If it is the right one, set "
    "sslopt={'ca_certs': its file}, or pin it with sslopt={'fingerprint': its SHA-256}.",
    _SELF_SIGNED_IN_CHAIN: f"comes from an authority that this machine does not trust; {_TRUST}.",
    _NO_ISSUER: "comes from an authority that this machine does not know, or the server leaves "
    f"out the certificates in between; {_TRUST}, or complete the server's chain.",
    _NO_LEAF_SIGNATURE: "came without the certificates between it and its authority; complete "
    "the server's chain, or set sslopt={'ca_certs': a file with them}.",
    _NO_CRL: "can't be looked up for revocation, no revocation list is loaded; load one into the "
    "context, or take VERIFY_CRL_CHECK out of its verify_flags.",
    _NOT_A_SERVER: "is not made out for servers. It has to be replaced on the server.",
    _HOSTNAME: "is made out to another name. Connect to a name that it has, or set "
    "sslopt={'server_hostname': that name}.",
    _ADDRESS: "does not have this IP address. Connect to a name that it has, or set "
    "sslopt={'server_hostname': that name}.",
    **dict.fromkeys(
        _TOO_WEAK, "is too weak for this machine's rules. It has to be replaced on the server."
    ),
}

_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
_NO_COMMON_VERSION: Final = (
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
)
_WANTS_CERTIFICATE: Final = (
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
)
_NO_COMMON_CIPHER: Final = (
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "NO_CIPHERS_AVAILABLE",
    "NO_SHARED_CIPHER",
)


def explain(error: BaseException, name: str) -> str:
    """One sentence or two: which check failed, and what to set.

    Args:
        error: an ``ssl.SSLError`` or ``ConnectionError`` from a TLS handshake.
        name: the server's name, as it was checked.
    """
    reason: str = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, name)
    if reason in _NOT_TLS:
        return f"What {name!r} answered is not TLS; use ws:// if this port speaks plain WebSocket."
    if reason in _NO_COMMON_VERSION:
        return (
            f"{name!r} and this machine have no TLS version in common; TLS 1.2 is the lowest "
            "here, unless sslopt={'minimum_version': ...} says otherwise."
        )
    if reason in _WANTS_CERTIFICATE:
        return (
            f"{name!r} demands a certificate of the client, or did not accept it; set "
            "sslopt={'certfile': ..., 'keyfile': ...}."
        )
    if reason in _NO_COMMON_CIPHER:
        return (
            f"{name!r} refused the handshake: it found no version, cipher or certificate in "
            "common; see sslopt's 'minimum_version', 'ciphers' and 'certfile'."
        )
    if reason in ("TLSV1_UNRECOGNIZED_NAME", "TLSV1_ALERT_UNRECOGNIZED_NAME"):
        return f"The server does not know the name {name!r}; set sslopt={{'server_hostname': ...}}."
    if isinstance(error, (SSLEOFError, ConnectionError)):
        return f"{name!r} closed the connection during the TLS handshake; does this port speak TLS?"
    return f"The TLS handshake with {name!r} failed."


def _explain_certificate(error: ssl.SSLCertVerificationError, name: str) -> str:
    code: int = getattr(error, "verify_code", 0)
    if code in _CERTIFICATE:
        return f"The certificate of {name!r} {_CERTIFICATE[code]}"
    message: str = getattr(error, "verify_message", "")
    if message == "fingerprint mismatch":
        return str(error)
    return f"The certificate of {name!r} was not accepted: {message or error}."


def explained(error: OSError, name: str, option: str = "sslopt") -> None:
    """Put what ``explain`` says into the text of the error.

    Args:
        option: the name of the option that the program has to set.
    """
    sentence = explain(error, name).replace("sslopt", option)
    text = error.strerror or ""
    if sentence not in text:
        error.strerror = f"{text}. {sentence}" if text else sentence
