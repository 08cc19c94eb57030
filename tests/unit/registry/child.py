"""Another process on the registry's file: `python -m tests.unit.registry.child DEED URL KEY_FILE WHO`. It says in lines on stdout how
far it is; tests start it, read the lines, and kill it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import sqlalchemy as sa

from smartconnect.control.ports import NameTaken
from smartconnect.domain.planning import Planned
from smartconnect.domain.secret import Secret
from smartconnect.registry import Registry
from smartconnect.registry.tables import tasks, units
from tests.unit.registry.givens import TWO_UNITS, a_partition, a_report, a_task, change, insert, take, the_task, unit


async def insert_one_name(registry: Registry, who: str) -> None:
    """Twenty tasks of one name and, of another each, their own."""
    made = 0
    for number in range(20):
        try:
            await insert(registry, a_task(f"{who}-{number}", name=f"name-{number}"), secrets={"sink_task.secret_key": Secret(who)})
            made += 1
        except NameTaken:
            continue
    print(f"made {made}", flush=True)


async def hold(registry: Registry, who: str) -> None:
    """Be in the middle of a transaction that has changed much, and stay there."""
    await registry.connector("instance-1", True)
    async with registry._database.write() as connection:
        await connection.execute(sa.update(tasks).values(name="torn", run=99))
        await connection.execute(sa.update(units).values(epoch=99, owner="torn" * 10_000))
        print("holding", flush=True)
        await asyncio.Event().wait()


async def hammer(registry: Registry, who: str) -> None:
    """Do everything that changes task-1, again and again. Each round is told before the next one begins."""
    for count in range(1_000_000):
        epoch = await take(registry, unit())
        rows = [a_partition(partition=number, position=count) for number in range(500)]
        await registry.report([a_report(unit(), epoch, owner=f"{count}", partitions=rows)])
        task, _ = await the_task(registry)
        task = await change(registry, task, new_run=True, secrets={"sink_task.secret_key": Secret(f"{count}" * 100)})
        await registry.store_plan(task, Planned(TWO_UNITS))
        print(f"round {count} run {task.run}", flush=True)


DEEDS = {"insert_one_name": insert_one_name, "hold": hold, "hammer": hammer}


async def main(deed: str, url: str, key_file: str, who: str) -> None:
    registry = await Registry.open(url, Path(key_file))
    print("open", flush=True)
    try:
        await DEEDS[deed](registry, who)
    finally:
        await registry.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
