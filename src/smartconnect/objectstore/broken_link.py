"""Why an HTTP exchange broke, for people: no URL (a presigned one carries key and signature), no object of Python. Used by the transport,
and by commands that ask an address themselves.
"""

from __future__ import annotations

import os
import socket
import ssl

import aiohttp


class NoConnection(OSError):
    """No connection came about, and why."""

    def __init__(self, host: str, port: int | None, cause: Exception) -> None:
        super().__init__()
        self.host, self.port, self.cause = host, port, cause

    def __str__(self) -> str:
        where = f"{self.host}:{self.port}"
        if isinstance(self.cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {self.cause.verify_message or type(self.cause).__name__}"
        if isinstance(self.cause, ssl.SSLError):
            return f"no TLS with {where}: {_tls_text(self.cause)}"
        if isinstance(self.cause, socket.gaierror | UnicodeError):
            return f"the name {self.host} cannot be resolved"
        return f"no connection to {where}: {_errno_text(self.cause)}"


def reason_of(error: Exception) -> str:
    """The cause of what aiohttp or a connection of ours raised."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, NoConnection):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(NoConnection(error.host, error.port, error.certificate_error))
    if isinstance(error, aiohttp.ClientConnectorError):
        return str(NoConnection(error.host, error.port, error.os_error))
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionAbortedError):
        return "the connection was closed without an answer"
    return f"the connection broke: {_errno_text(error)}"


def _tls_text(error: Exception) -> str:
    """OpenSSL's name for it; its errno is none of the system's."""
    return str(getattr(error, "reason", None) or type(error).__name__).replace("_", " ").lower()


def _errno_text(error: Exception) -> str:
    """The system's words for it: those of asyncio and aiohttp may hold addresses."""
    number = getattr(error, "errno", None)
    if type(error) is OSError and number is None:
        return "none of its addresses answers"  # asyncio's sum of several errors
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__
