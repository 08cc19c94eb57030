"""Why an HTTP exchange broke, for people: no URL (a presigned one carries key and signature), no object of Python. Used by the transport,
and by commands that ask an address themselves.
"""

from __future__ import annotations

import os

import aiohttp


def reason_of(error: Exception) -> str:
    """The cause of what aiohttp raised."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {error.host} cannot be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        return f"its certificate is not trusted: {getattr(inner, 'verify_message', '') or type(inner).__name__}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return f"no TLS with {error.host}:{error.port}: {_tls_text(error.os_error)}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection to {error.host}:{error.port}: {_errno_text(error.os_error)}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    return f"the connection broke: {_errno_text(error)}"


def _tls_text(error: Exception) -> str:
    """OpenSSL's name for it; its errno is none of the system's."""
    return str(getattr(error, "reason", None) or type(error).__name__).replace("_", " ").lower()


def _errno_text(error: Exception) -> str:
    """The system's words for it: those of asyncio and aiohttp may hold addresses."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__
