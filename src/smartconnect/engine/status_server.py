"""The three unsigned pages of `smart-connect worker`, where there is no API: /healthz, /readyz, /metrics. HTTP/1.1 as far as a health
check and Prometheus need it: one GET a connection, no body, answers of known length.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final

from smartconnect.engine.probes import FleetView
from smartconnect.telemetry.prometheus import CONTENT_TYPE

REQUEST_WITHIN_S: Final = 10.0
MAX_HEAD: Final = 16 * 1024
_TEXT: Final = "text/plain; charset=utf-8"
_REASONS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 400: "Bad Request", 503: "Service Unavailable"}


class StatusServer:
    """`start`, then `close`."""

    def __init__(self, fleet: FleetView) -> None:
        self._server: asyncio.Server | None = None
        self._pages: dict[str, Callable[[], tuple[int, str, str]]] = {
            "/healthz": lambda: (200, _TEXT, "ok\n"),
            "/readyz": lambda: _readiness(fleet),
            "/metrics": lambda: (200, CONTENT_TYPE, fleet.metrics()),
        }

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; gives the port (0 asks for a free one). OSError if it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, ssl=tls, limit=MAX_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return  # whoever asks so is not answered
        finally:
            writer.close()

    def _answer(self, head: bytes) -> bytes:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(400, _TEXT, "bad request\n", with_body=True)
        method, target, _ = words
        page = self._pages.get(target.partition("?")[0])
        if page is None:
            return _response(404, _TEXT, "there are /healthz, /readyz and /metrics\n", with_body=method != "HEAD")
        if method not in ("GET", "HEAD"):
            return _response(405, _TEXT, "only GET\n", with_body=True)
        return _response(*page(), with_body=method == "GET")


def _readiness(fleet: FleetView) -> tuple[int, str, str]:
    problems = fleet.problems()
    return (503 if problems else 200), _TEXT, "".join(f"{problem}\n" for problem in problems) or "ready\n"


def _response(status: int, content_type: str, text: str, *, with_body: bool) -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (body if with_body else b"")
