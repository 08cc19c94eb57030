"""The outermost layer of our own: every request gets an id, every response the `X-Request-Id` header, every error that nobody expected the
500 of api.md §8, with its cause only in the log; each request leaves one log line. It wraps the console too.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smartconnect.api.answers import refusal_answer
from smartconnect.control import codes
from smartconnect.control.refusals import Refusal
from smartconnect.domain.clock import Clock
from smartconnect.telemetry.logs import get_logger

REQUEST_ID = "smartconnect.request_id"
CALLER = "smartconnect.caller"
"""Keys of the ASGI scope."""

QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestFrame:
    """Wraps one ASGI application. `new_request_id` gives 32 hexadecimal digits."""

    def __init__(self, app: ASGIApp, *, new_request_id: Callable[[], str], clock: Clock) -> None:
        self._app = app
        self._new_request_id = new_request_id
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._new_request_id()
        scope[REQUEST_ID] = request_id
        started = self._clock.monotonic()
        status = 0

        async def send_framed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode("ascii"))]
            await send(message)

        try:
            await self._app(scope, receive, send_framed)
        except ClientDisconnect:
            get_logger().info("client left before its request was read", request=request_id, path=scope["path"])
        except Exception:
            get_logger().exception("request failed", request=request_id, method=scope["method"], path=scope["path"])
            if status:
                raise
            await refusal_answer(Refusal(codes.INTERNAL), request_id)(scope, receive, send_framed)
        if scope["path"] not in QUIET_PATHS:
            took_ms = round((self._clock.monotonic() - started) * 1000, 1)
            get_logger().info(
                "request",
                request=request_id,
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=took_ms,
                caller=scope.get(CALLER, ""),
            )
