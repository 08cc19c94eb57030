"""Pages that need no signature: health, metrics, the OpenAPI document, and a page of our own that shows it without any outside asset."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI
from starlette.responses import Response

from smartconnect.api.answers import json_answer
from smartconnect.api.services import ApiServices

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"
DOCS_POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'"
ASSETS = {"docs.js": "text/javascript", "docs.css": "text/css"}


class PublicPages:
    """`document`: the OpenAPI document as JSON."""

    def __init__(self, services: ApiServices, document: bytes) -> None:
        self._services = services
        self._document = document
        folder = files("smartconnect.api") / "assets"
        self._page = (folder / "docs.html").read_bytes()
        self._assets = {name: (folder / name).read_bytes() for name in ASSETS}

    def add_to(self, app: FastAPI) -> None:
        routes = {
            "/healthz": self.alive,
            "/readyz": self.ready,
            "/metrics": self.metrics,
            "/openapi.json": self.openapi,
            "/docs": self.docs,
        }
        for path, endpoint in routes.items():
            app.add_api_route(path, endpoint, methods=["GET"], response_class=Response)
        for name in ASSETS:
            app.add_api_route(f"/docs/{name}", self._asset(name), methods=["GET"], response_class=Response)

    async def alive(self) -> Response:
        return json_answer({"status": "alive", "version": self._services.version})

    async def ready(self) -> Response:
        readiness = await self._services.readiness()
        content = {"status": "ready" if readiness.ready else "not ready", "problems": list(readiness.problems)}
        return json_answer(content, 200 if readiness.ready else 503)

    async def metrics(self) -> Response:
        return Response(await self._services.metrics(), headers={"content-type": PROMETHEUS_TEXT})

    async def openapi(self) -> Response:
        return Response(self._document, media_type="application/json")

    async def docs(self) -> Response:
        return Response(self._page, media_type="text/html", headers={"content-security-policy": DOCS_POLICY})

    def _asset(self, name: str) -> Callable[[], Awaitable[Response]]:
        async def asset() -> Response:
            return Response(self._assets[name], media_type=ASSETS[name])

        return asset
