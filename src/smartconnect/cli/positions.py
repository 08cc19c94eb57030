"""`positions TASK show|set|skip`: no trouble of one partition may have "copy everything again" as its only cure. Works on the settings file
and its registry; a change takes the partition's unit over like any owner, and leaves an event and an audit row.
"""

from __future__ import annotations

import asyncio
import enum
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartconnect.cli import words
from smartconnect.cli.options import DEFAULT_FILE, ConfigOption, JsonOption
from smartconnect.cli.stored_task import job_of, opened, stored_task
from smartconnect.cli.take_over import Hand, person
from smartconnect.domain.clock import Clock
from smartconnect.domain.errors import Fenced, SmartConnectError
from smartconnect.domain.positions import PositionChange, PositionMoved, PositionRow
from smartconnect.domain.task import Desired, Task

if TYPE_CHECKING:
    from smartconnect.registry import Registry


class Action(enum.StrEnum):
    SHOW = "show"
    SET = "set"
    SKIP = "skip"


TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="Id or name.")]
ActionArgument = Annotated[Action, typer.Argument(metavar="show|set|skip", help="skip: to the end of the log.")]
WhereArgument = Annotated[list[str] | None, typer.Argument(metavar="TOPIC PARTITION OFFSET", help="As the action needs.")]
DirectionOption = Annotated[str, typer.Option("--direction", metavar="pull|push", help="Of a two-way replication.")]
InstanceOption = Annotated[str, typer.Option("--instance", help="Id of the instance, if two have a task of this name.")]


class PositionsImpossible(SmartConnectError):
    """The command cannot be done now, or not with these arguments."""

    code = "positions_impossible"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("positions")
    def positions(
        task: TaskArgument,
        action: ActionArgument,
        where: WhereArgument = None,
        direction: DirectionOption = "",
        instance: InstanceOption = "",
        config: ConfigOption = DEFAULT_FILE,
        as_json: JsonOption = False,
    ) -> None:
        """Show positions, or move single partitions of a paused task: `set TOPIC PARTITION OFFSET`, `skip TOPIC PARTITION`."""
        given = where or []
        if action is Action.SHOW:
            _print_rows(asyncio.run(_show(config, (task, instance), given[0] if given else "", direction)), as_json=as_json)
            return
        change, moved = asyncio.run(_change(config, (task, instance), read_change(action, given, direction)))
        print(json.dumps(asdict(moved)) if as_json else moved.in_words(change.where))


def read_change(action: Action, where: Sequence[str], direction: str = "") -> PositionChange:
    """What `set TOPIC PARTITION OFFSET` or `skip TOPIC PARTITION` means; PositionsImpossible for anything else."""
    names = ("TOPIC", "PARTITION", "OFFSET") if action is Action.SET else ("TOPIC", "PARTITION")
    if len(where) != len(names) or not all(text.isascii() and text.isdigit() for text in where[1:]):
        raise PositionsImpossible(f"write: smart-connect positions TASK {action} {' '.join(names)}")
    return PositionChange(where[0], int(where[1]), int(where[2]) if action is Action.SET else None, direction or None)


def chosen_direction(task: Task, directions: Sequence[str], wanted: str | None) -> str | None:
    """The direction that is meant: the one that was named, else the only one, None where the kind of task has none. PositionsImpossible."""
    if wanted is not None and wanted not in directions:
        told = f"has the directions {', '.join(directions)}" if directions else "has no directions"
        raise PositionsImpossible(f"--direction {wanted}: task {task.name} {told}")
    if wanted is None and len(directions) > 1:
        raise PositionsImpossible(f"task {task.name} copies both ways: say which with --direction {' or '.join(directions)}")
    return wanted or next(iter(directions), None)


async def _show(config: Path, which: tuple[str, str], topic: str, direction: str) -> Sequence[PositionRow]:
    from smartconnect.engine.job import PositionedJob

    async with opened(config) as (settings, registry):
        task = await stored_task(registry, *which)
        job = job_of(task, settings, Clock())
        if not isinstance(job, PositionedJob):
            raise PositionsImpossible(f"tasks of the kind {task.kind} keep no positions by partition")
        if direction:
            chosen_direction(task, job.directions(task.config), direction)
        rows = await job.positions(task, await registry.secrets(task.id))
        return [row for row in rows if topic in ("", row.topic) and direction in ("", row.direction)]


async def _change(config: Path, which: tuple[str, str], change: PositionChange) -> tuple[PositionChange, PositionMoved]:
    """The change with its direction, and what it did."""
    from smartconnect.engine.job import PositionedJob

    clock = Clock()
    async with opened(config) as (settings, registry):
        task = await stored_task(registry, *which)
        await _must_rest(registry, task)
        job = job_of(task, settings, clock)
        if not isinstance(job, PositionedJob):
            raise PositionsImpossible(f"tasks of the kind {task.kind} keep no positions by partition")
        plan = next((item.plan for item in await registry.wanted() if item.task.id == task.id), None)
        if plan is None:
            raise PositionsImpossible(f"task {task.name} has not run yet: it has no positions")
        change = replace(change, direction=chosen_direction(task, job.directions(task.config), change.direction))
        unit = job.unit_of(plan.plan, plan.units_each, change)
        try:
            return change, await Hand(registry, task, clock, person()).move(job, job, plan.units_each, change, unit)
        except Fenced as error:
            raise PositionsImpossible(
                f"{error}: somebody took the unit meanwhile; see that the task is paused, and try again"
            ) from error


async def _must_rest(registry: Registry, task: Task) -> None:
    found = await registry.find_task(task.instance_id, task.id)
    if task.desired is not Desired.PAUSED:
        raise PositionsImpossible(f"task {task.name} is not paused; pause it first: smart-connect tasks pause {task.name}")
    if found is None or not found[1]:
        raise PositionsImpossible(f"task {task.name} still drains; wait until it shows PAUSED")


def _print_rows(rows: Sequence[PositionRow], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"positions": [asdict(row) for row in rows]}))
        return
    from rich.table import Table

    from smartconnect.cli.output import console

    table = Table(box=None, header_style="bold", pad_edge=False)
    directed = any(row.direction for row in rows)
    first, last = (("DIRECTION",), ()) if directed else ((), ("PREPARED",))
    for name in (*first, "TOPIC", "PARTITION", "POSITION", "LOG START", "LOG END", "LAG", *last, ""):
        table.add_column(name, justify="left" if name in ("TOPIC", "DIRECTION", "") else "right")
    for row in rows:
        lag = None if row.position is None or row.log_end is None else max(0, row.log_end - row.position)
        numbers = (row.position, row.log_start, row.log_end, lag, *(() if directed else (row.prepared,)))
        names = (row.direction or "", row.topic) if directed else (row.topic,)
        table.add_row(*names, str(row.partition), *(words.number(value) for value in numbers), _remark(row))
    if rows:
        console().print(table)
    else:
        print("no positions")


def _remark(row: PositionRow) -> str:
    if row.foreign:
        return "[red]written by somebody else[/]" if row.direction is None else "[red]cannot be read[/]"
    if row.log_start is None:
        return "[yellow]the source does not have it[/]"
    if row.position is not None and row.position < row.log_start:
        return "[red]the log begins behind it[/]"
    return ""
