"""`tasks watch`: progress, live, until Ctrl-C or until the task is gone. Without a terminal, and with --json, one line for each change."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from smartconnect.cli import progress_view
from smartconnect.cli.client import ApiClient, ApiRefused, ApiUnreachable
from smartconnect.cli.tasks.find import Found, NoSuchTask

_LOOK_EVERY_S: Final = 1.0
_NOT_A_CHANGE: Final = ("as_of",)


async def watch(client: ApiClient, found: Found, *, as_json: bool) -> None:
    """Returns only by an error: NoSuchTask when the task was deleted. A service that does not answer is waited for."""
    console = Console()
    if as_json or not console.is_terminal:
        await _lines(client, found, as_json=as_json)
        return
    with Live(console=console, screen=False, auto_refresh=False) as live:
        while True:
            try:
                live.update(progress_view.panel(await _progress(client, found)), refresh=True)
            except ApiUnreachable as error:
                live.update(f"[yellow]{error}[/]", refresh=True)
            await asyncio.sleep(_LOOK_EVERY_S)


async def _lines(client: ApiClient, found: Found, *, as_json: bool) -> None:
    last: object = None
    while True:
        try:
            progress = await _progress(client, found)
        except ApiUnreachable as error:
            if last != str(error):
                last = str(error)
                print(last, file=sys.stderr, flush=True)
            await asyncio.sleep(_LOOK_EVERY_S)
            continue
        told = json.dumps(progress) if as_json else progress_view.line(progress)
        now = _without_times(progress) if as_json else told
        if now != last:
            print(told, flush=True)
            last = now
        await asyncio.sleep(_LOOK_EVERY_S)


async def _progress(client: ApiClient, found: Found) -> Mapping[str, Any]:
    try:
        return await client.call("GET", f"{found.path}/progress")
    except ApiRefused as refused:
        if refused.status == 404:
            raise NoSuchTask(f"task {found.task['task_name']} was deleted") from None
        raise


def _without_times(progress: Mapping[str, Any]) -> object:
    """What has to differ for a line to be worth printing."""
    shown = {name: value for name, value in progress.items() if name not in _NOT_A_CHANGE}
    shown["units"] = [{name: value for name, value in unit.items() if name != "reported_at"} for unit in progress["units"]]
    return shown
