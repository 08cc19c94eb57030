"""The commands of `tasks`. Each is one call of the documented API; refusals are told in the API's own words."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from smartconnect.cli.options import DEFAULT_FILE, ConfigOption, JsonOption
from smartconnect.domain.errors import SmartConnectError

EndpointOption = Annotated[
    str, typer.Option("--endpoint", help="The API; else SMARTCONNECT_ENDPOINT, else api.listen of the file.")
]
InstanceOption = Annotated[str, typer.Option("--instance", help="Id or name of the instance; default: all of the file.")]
ProjectOption = Annotated[str, typer.Option("--project", help="Project id of --instance, where there is no settings file.")]
TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="Id or name.")]
FileArgument = Annotated[str, typer.Argument(metavar="FILE", help="The request body as JSON; - reads it from stdin.")]


class BadFile(SmartConnectError):
    """A file that the user named is not what it should be."""

    code = "bad_file"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    tasks = typer.Typer(help="Tasks, over the API: signed calls, from any machine.", no_args_is_help=True)
    app.add_typer(tasks, name="tasks")
    _add_create(tasks)
    _add_reading(tasks)
    _add_watch(tasks)
    for action, told in (
        ("pause", "drains and then shows PAUSED"),
        ("resume", "goes on from its stored positions"),
        ("restart", "begins a new run: progress is reset, and with consumer_strategy earliest everything is delivered again"),
        ("delete", "is gone; what it had prepared is finished in the background"),
    ):
        _add_action(tasks, action, told)


def _add_create(tasks: typer.Typer) -> None:
    @tasks.command("create")
    def create(
        file: FileArgument,
        config: ConfigOption = DEFAULT_FILE,
        endpoint: EndpointOption = "",
        project: ProjectOption = "",
        instance: InstanceOption = "",
        as_json: JsonOption = False,
    ) -> None:
        """Create a task; what FILE may hold stands at /docs of the service."""
        from smartconnect.cli.client import ApiClient, instance_path
        from smartconnect.cli.tasks.target import Wish, target_of

        body = _read_object(file)
        target = target_of(Wish(config, endpoint, project, instance))
        if len(target.places) > 1:
            raise BadFile("the settings file has several instances; say which with --instance")
        path = f"{instance_path(target.places[0].project_id, target.places[0].instance_id)}/connector/tasks"

        async def call() -> Mapping[str, Any]:
            async with ApiClient(target.endpoint, target.caller) as client:
                return await client.call("POST", path, body)

        created = asyncio.run(call())
        print(json.dumps(created) if as_json else f"created {created['task_name']} ({created['id']}), {created['status']}")


def _add_reading(tasks: typer.Typer) -> None:
    @tasks.command("list")
    def list_tasks(
        config: ConfigOption = DEFAULT_FILE,
        endpoint: EndpointOption = "",
        project: ProjectOption = "",
        instance: InstanceOption = "",
        as_json: JsonOption = False,
    ) -> None:
        """List tasks with their state and lag."""
        from smartconnect.cli.tasks.find import all_tasks
        from smartconnect.cli.tasks.table import print_tasks
        from smartconnect.cli.tasks.target import Wish, target_of

        target = target_of(Wish(config, endpoint, project, instance))

        async def call(client: Any) -> list[tuple[Any, Mapping[str, Any]]]:
            found = [item async for item in all_tasks(client, target)]
            progress = [] if as_json else await asyncio.gather(*(client.call("GET", f"{f.path}/progress?limit=0") for f in found))
            return list(zip(found, progress or [{}] * len(found), strict=True))

        rows = _called(target, call)
        if as_json:
            print(json.dumps({"tasks": [found.task for found, _ in rows]}))
        else:
            print_tasks(rows)

    @tasks.command("show")
    def show(
        task: TaskArgument,
        config: ConfigOption = DEFAULT_FILE,
        endpoint: EndpointOption = "",
        project: ProjectOption = "",
        instance: InstanceOption = "",
        as_json: JsonOption = False,
    ) -> None:
        """Show one task as the API returns it."""
        found = _on_task((config, endpoint, project, instance), task, _nothing)
        print(json.dumps(found.task) if as_json else json.dumps(found.task, indent=2, ensure_ascii=False))


def _add_watch(tasks: typer.Typer) -> None:
    @tasks.command("watch")
    def watch_task(
        task: TaskArgument,
        config: ConfigOption = DEFAULT_FILE,
        endpoint: EndpointOption = "",
        project: ProjectOption = "",
        instance: InstanceOption = "",
        as_json: JsonOption = False,
    ) -> None:
        """Live progress, until Ctrl-C; without a terminal, and with --json, one line for each change."""
        from smartconnect.cli.tasks.watch import watch

        async def look(client: Any, found: Any) -> None:
            await watch(client, found, as_json=as_json)

        try:
            _on_task((config, endpoint, project, instance), task, look)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


def _add_action(tasks: typer.Typer, action: str, told: str) -> None:
    def act(
        task: TaskArgument,
        config: ConfigOption = DEFAULT_FILE,
        endpoint: EndpointOption = "",
        project: ProjectOption = "",
        instance: InstanceOption = "",
        as_json: JsonOption = False,
    ) -> None:
        async def call(client: Any, found: Any) -> None:
            path = found.restart_path if action == "restart" else found.path if action == "delete" else f"{found.path}/{action}"
            await client.call("DELETE" if action == "delete" else "PUT", path)

        found = _on_task((config, endpoint, project, instance), task, call)
        if as_json:
            print(json.dumps({"id": found.task["id"], "task_name": found.task["task_name"], "action": action}))
        else:
            print(f"{action}: {found.task['task_name']} {told}")

    act.__doc__ = f"{action.capitalize()} a task: it {told}."
    tasks.command(action)(act)


def _on_task(where: tuple[Path, str, str, str], task: str, then: Callable[[Any, Any], Awaitable[None]]) -> Any:
    """Find the task, do something with it; what was found."""
    from smartconnect.cli.tasks.find import find_task
    from smartconnect.cli.tasks.target import Wish, target_of

    target = target_of(Wish(*where))

    async def call(client: Any) -> Any:
        found = await find_task(client, target, task)
        await then(client, found)
        return found

    return _called(target, call)


def _called(target: Any, call: Callable[[Any], Awaitable[Any]]) -> Any:
    from smartconnect.cli.client import ApiClient

    async def inside() -> Any:
        async with ApiClient(target.endpoint, target.caller) as client:
            return await call(client)

    return asyncio.run(inside())


async def _nothing(client: Any, found: Any) -> None:
    return None


def _read_object(file: str) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        body = json.loads(text)
    except OSError as error:
        raise BadFile(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise BadFile(f"{file}: is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadFile(f"{file}: must hold one JSON object, the body of the request")
    return body
