"""The checks that every signed call passes before control sees it, in the order of api.md §2: body size, authentication, form of the
project id, project allowed, read-only, instance. What comes after (enabled, task, body, fields …) is control's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from smartconnect.api.authentication import authenticate
from smartconnect.api.bodies import read_body
from smartconnect.api.frame import CALLER, REQUEST_ID
from smartconnect.api.services import ApiServices
from smartconnect.api.signing import RawRequest, header_text
from smartconnect.control import codes
from smartconnect.control.call import CallContext, Caller
from smartconnect.control.lookup import is_uuid
from smartconnect.control.refusals import Refusal
from smartconnect.settings import InstanceSettings

_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may go on to control, and its body, not yet parsed."""

    context: CallContext
    body: bytes


async def admit(services: ApiServices, request: Request, project_id: str, instance_id: str) -> Admitted:
    """Raise the `Refusal` of the first check that fails."""
    body = await read_body(request.stream())
    principal = authenticate(_raw(request, body), services.access(), services.clock.now_ms())
    request.scope[CALLER] = principal.name
    if not _PROJECT_ID.fullmatch(project_id):
        raise Refusal(codes.PROJECT_ID_FORM)
    if not principal.may_use(project_id):
        raise Refusal(principal.project_refusal)
    if principal.read_only and request.method != "GET":
        raise Refusal(codes.READ_ONLY)
    instance = _instance(services, project_id, instance_id)
    return Admitted(CallContext(Caller(principal.name, request.scope[REQUEST_ID]), instance), body)


def _instance(services: ApiServices, project_id: str, instance_id: str) -> InstanceSettings:
    instance = services.instances().get(instance_id)
    if instance is not None and instance.project_id == project_id:
        return instance
    if instance is None and not is_uuid(instance_id):
        raise Refusal(codes.INSTANCE_ID_FORM)
    raise Refusal(codes.NO_SUCH_INSTANCE)


def _raw(request: Request, body: bytes) -> RawRequest:
    headers: dict[str, list[str]] = {}
    for name, value in request.scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(header_text(value))
    return RawRequest(
        method=request.method,
        path=request.scope["raw_path"],
        query=request.scope["query_string"],
        headers=headers,
        body=body,
    )
