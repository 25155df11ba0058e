"""TLS names that exist on every Python, also on one that was built without OpenSSL.

Without the ``ssl`` module the error classes are stand-ins that nothing raises, so that
``except SSLError`` stays valid code. TLS settings live in ``_tls``, dialling in ``_http``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "HAVE_CONTEXT_CHECK_HOSTNAME",
    "HAVE_SSL",
    "SSLEOFError",
    "SSLError",
    "SSLWantReadError",
    "SSLWantWriteError",
    "ssl",
]

if TYPE_CHECKING:
    import ssl
    from ssl import SSLEOFError, SSLError, SSLWantReadError, SSLWantWriteError

else:
    try:
        import ssl
        from ssl import SSLEOFError, SSLError, SSLWantReadError, SSLWantWriteError
    except ImportError:
        ssl = None

        class SSLError(OSError):
            """Stands in for ``ssl.SSLError``."""

        class SSLEOFError(SSLError):
            """Stands in for ``ssl.SSLEOFError``."""

        class SSLWantReadError(SSLError):
            """Stands in for ``ssl.SSLWantReadError``."""

        class SSLWantWriteError(SSLError):
            """Stands in for ``ssl.SSLWantWriteError``."""


HAVE_SSL: bool = bool(ssl)

# Spellings of earlier releases.
HAVE_CONTEXT_CHECK_HOSTNAME: bool = HAVE_SSL
_ssl_module = ssl
_SSLErrorType = SSLError
_SSLEOFErrorType = SSLEOFError
_SSLWantReadErrorType = SSLWantReadError
_SSLWantWriteErrorType = SSLWantWriteError
