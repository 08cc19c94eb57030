"""One method for each documented call: admit it, hand it to control, write the answer. Called by the router, under the names of
`operations.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.responses import Response

from smartconnect.api.admission import admit
from smartconnect.api.answers import json_answer, no_content
from smartconnect.api.bodies import optional_object, parsed_object
from smartconnect.api.services import ApiServices
from smartconnect.api.wire import instance_json, page_json, task_json
from smartconnect.api.wire_progress import progress_json
from smartconnect.control.call import CallContext


class Endpoints:
    """All calls that need a signature or a token."""

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._control = services.control

    async def create_task(self, request: Request, project_id: str, instance_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        return json_answer(task_json(await self._control.create(call.context, lambda: parsed_object(call.body))))

    async def list_tasks(self, request: Request, project_id: str, instance_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        query = request.query_params
        page = await self._control.list(call.context, offset=query.get("offset"), limit=query.get("limit"))
        return json_answer(page_json(page))

    async def show_task(self, request: Request, project_id: str, instance_id: str, task_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        return json_answer(task_json(await self._control.show(call.context, task_id)))

    async def modify_task(self, request: Request, project_id: str, instance_id: str, task_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        task = await self._control.modify(call.context, task_id, lambda: parsed_object(call.body))
        return json_answer(task_json(task))

    async def delete_task(self, request: Request, project_id: str, instance_id: str, task_id: str) -> Response:
        return await self._act(request, (project_id, instance_id, task_id), self._control.delete)

    async def pause_task(self, request: Request, project_id: str, instance_id: str, task_id: str) -> Response:
        return await self._act(request, (project_id, instance_id, task_id), self._control.pause)

    async def resume_task(self, request: Request, project_id: str, instance_id: str, task_id: str) -> Response:
        return await self._act(request, (project_id, instance_id, task_id), self._control.resume)

    async def restart_task(self, request: Request, project_id: str, instance_id: str, task_id: str) -> Response:
        return await self._act(request, (project_id, instance_id, task_id), self._control.restart)

    async def validate(self, request: Request, project_id: str, instance_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        await self._control.validate(call.context, lambda: parsed_object(call.body))
        return json_answer({})

    async def enable(self, request: Request, project_id: str, instance_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        connector = await self._control.enable(call.context, lambda: optional_object(call.body))
        return json_answer({"job_id": self._control.new_job_id(), "connector_id": connector.connector_id})

    async def disable(self, request: Request, project_id: str, instance_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        await self._control.disable(call.context)
        return json_answer({"job_id": self._control.new_job_id()})

    async def resource_info(self, request: Request, project_id: str, instance_id: str) -> Response:
        await admit(self._services, request, project_id, instance_id)
        return json_answer({"soldOut": False})

    async def show_instance(self, request: Request, project_id: str, instance_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        return json_answer(instance_json(call.context.instance, await self._control.connector(call.context)))

    async def show_progress(self, request: Request, project_id: str, instance_id: str, task_id: str) -> Response:
        call = await admit(self._services, request, project_id, instance_id)
        query = request.query_params
        view = await self._control.progress(
            call.context, task_id, offset=query.get("offset"), limit=query.get("limit"), topic=query.get("topic")
        )
        return json_answer(progress_json(view))

    async def _act(
        self, request: Request, path: tuple[str, str, str], action: Callable[[CallContext, str], Awaitable[None]]
    ) -> Response:
        project_id, instance_id, task_id = path
        call = await admit(self._services, request, project_id, instance_id)
        await action(call.context, task_id)
        return no_content()
