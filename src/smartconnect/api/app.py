"""`create_app` puts the API together: routes, error answers, the request frame, and the unsigned pages. Everything it works with is
injected; the process that serves it belongs to the engine, and other pages (the console) are mounted by the composition root.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from smartconnect.api.answers import refusal_answer
from smartconnect.api.endpoints import Endpoints
from smartconnect.api.frame import REQUEST_ID, RequestFrame
from smartconnect.api.openapi import openapi_document
from smartconnect.api.operations import operations
from smartconnect.api.public import PublicPages
from smartconnect.api.services import ApiServices
from smartconnect.control import codes
from smartconnect.control.refusals import Refusal
from smartconnect.domain.errors import RegistryUnreachable
from smartconnect.telemetry.logs import get_logger


def create_app(services: ApiServices) -> FastAPI:
    """The ASGI application of one process."""
    app = FastAPI(
        title="Smart Connect",
        version=services.version,
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    table = operations(Endpoints(services))
    for operation in table:
        app.add_api_route(
            operation.path, operation.endpoint, methods=[operation.method], name=operation.name, response_class=Response
        )
    PublicPages(services, openapi_document(table, services.version)).add_to(app)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RegistryUnreachable, _registry_away)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_middleware(RequestFrame, new_request_id=services.new_request_id, clock=services.clock)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, Refusal):
        raise error
    return refusal_answer(error, request.scope[REQUEST_ID])


async def _registry_away(request: Request, error: Exception) -> Response:
    """Whatever was asked: the answer is in the registry, and the cause only in the log."""
    request_id = request.scope[REQUEST_ID]
    get_logger().error("request not answered", request=request_id, path=request.scope["path"], cause=str(error))
    return refusal_answer(Refusal(codes.REGISTRY_AWAY), request_id)


async def _not_routed(request: Request, error: Exception) -> Response:
    """No route, or no such method on it; the framework knows only the first route of a path, `Allow` names all."""
    if not isinstance(error, HTTPException) or error.status_code not in (404, 405):
        raise error
    if error.status_code == 404:
        return refusal_answer(Refusal(codes.NO_SUCH_URL), request.scope[REQUEST_ID])
    allowed = sorted(_allowed_methods(request))
    return refusal_answer(Refusal(codes.METHOD_NOT_ALLOWED), request.scope[REQUEST_ID], {"Allow": ", ".join(allowed)})


def _allowed_methods(request: Request) -> set[str]:
    methods: set[str] = set()
    for route in request.app.router.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return methods
