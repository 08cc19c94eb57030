"""Many processes, one file: real ones, started, held up and killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

import smartconnect
from smartconnect.control.ports import TaskStore
from smartconnect.domain.errors import RegistryBusy, RegistryUnreachable
from smartconnect.domain.task import Desired
from smartconnect.engine.ports import EngineRegistry
from smartconnect.registry import Registry, Timing
from tests.support.waiting import eventually
from tests.unit.registry.conftest import OpenRegistry
from tests.unit.registry.givens import INSTANCE, a_report, a_task, change, insert, planned_task, take, the_task, the_wanted, unit

ROOT = Path(__file__).parents[3]
Child = asyncio.subprocess.Process
StartChild = Callable[..., Coroutine[Any, Any, Child]]
IMPATIENT = Timing(busy_timeout_ms=300)
HOLDER = """
import signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("holding", flush=True)
signal.pause()
"""


@pytest.fixture
async def start_child(file: Path, key_file: Path) -> AsyncIterator[StartChild]:
    """Starts `child.py` on the same file; what still lives at the end is killed."""
    children: list[Child] = []
    path = os.pathsep.join([str(ROOT), str(Path(smartconnect.__file__).parents[1])])

    async def start(deed: str, who: str = "child") -> Child:
        command = [sys.executable, "-m", "tests.unit.registry.child", deed, f"sqlite:///{file}", str(key_file), who]
        child = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
        )
        children.append(child)
        return child

    yield start
    for child in children:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def line_of(child: Child) -> str:
    assert child.stdout is not None
    async with asyncio.timeout(60):
        return (await child.stdout.readline()).decode().strip()


async def killed(child: Child) -> None:
    child.kill()
    await child.wait()


def intact(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as connection:
        checked = connection.execute("PRAGMA integrity_check").fetchall()
        dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    return (checked, dangling) == ([("ok",)], [])


async def test_processes_that_open_a_new_registry_at_once_share_one(start_child: StartChild, open_registry: OpenRegistry) -> None:
    children = await asyncio.gather(*(start_child("insert_one_name", who) for who in "abcd"))
    made = 0
    for child in children:
        assert await line_of(child) == "open"
        made += int((await line_of(child)).removeprefix("made "))
        assert await child.wait() == 0
    assert made == 20
    registry = await open_registry()
    page, total = await registry.list_tasks(INSTANCE, 0, 50)
    assert total == 20
    assert len({task.name for task, _ in page}) == 20
    for task, _ in page:
        assert (await registry.secrets(task.id))["sink_task.secret_key"].reveal() == task.id.partition("-")[0]


async def test_a_writer_killed_in_mid_transaction_leaves_what_was_before(
    registry: Registry, file: Path, start_child: StartChild
) -> None:
    task = await planned_task(registry)
    before = await registry.wanted()
    child = await start_child("hold")
    assert [await line_of(child), await line_of(child)] == ["open", "holding"]
    assert await registry.wanted() == before
    await killed(child)
    assert await registry.wanted() == before
    assert await take(registry, unit()) == 1
    assert (await change(registry, task, desired=Desired.PAUSED)).run == 1
    assert intact(file)


async def test_a_process_killed_at_any_moment_leaves_whole_transactions(
    registry: Registry, open_registry: OpenRegistry, file: Path, start_child: StartChild
) -> None:
    await planned_task(registry)
    chance = random.Random(3)
    for _ in range(4):
        child = await start_child("hammer")
        assert await line_of(child) == "open"
        told = await line_of(child)
        deadline = time.monotonic() + chance.uniform(0.05, 0.3)
        with suppress(TimeoutError):
            while time.monotonic() < deadline:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
                    told = await line_of(child)
        await killed(child)
        assert intact(file)
        fresh = await open_registry()
        task, _ = await the_task(fresh)
        assert task.run >= int(told.split()[-1])
        wanted = await the_wanted(fresh)
        assert wanted.plan is not None
        assert task.run - 1 <= wanted.plan.run <= task.run
        assert [row.slot for row in wanted.units] == [0, 1]
        rows = await fresh.progress(task.id, offset=0, limit=5000, topic=None)
        assert rows is not None
        assert rows.partitions_total in (0, 500)
        assert len({partition.position for _, partition in rows.partitions}) <= 1
        assert set(await fresh.secrets(task.id)) == {"sink_task.secret_key"}


async def test_a_long_foreign_writer_makes_writes_unreachable_for_a_bounded_time_and_then_heals(
    open_registry: OpenRegistry, file: Path
) -> None:
    registry = await open_registry(timing=IMPATIENT)
    await planned_task(registry)
    epoch = await take(registry, unit())
    with closing(sqlite3.connect(file, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        writes = [registry.report([a_report(unit(), epoch)]) for _ in range(6)]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert time.monotonic() - started < 10
        assert [isinstance(outcome, RegistryUnreachable) for outcome in outcomes] == [True] * 6
        assert any("locked" in str(outcome) for outcome in outcomes)
        assert not any("SELECT" in str(outcome) or "UPDATE" in str(outcome) for outcome in outcomes)
        assert len((await the_wanted(registry)).units) == 2
        foreign.execute("COMMIT")
    assert await registry.report([a_report(unit(), epoch)]) == set()


async def test_a_frozen_writer_keeps_nobody_from_opening_and_reading(
    registry: Registry, open_registry: OpenRegistry, start_child: StartChild
) -> None:
    task = await planned_task(registry)
    child = await start_child("hold")
    assert [await line_of(child), await line_of(child)] == ["open", "holding"]
    child.send_signal(signal.SIGSTOP)
    opened = await open_registry(timing=IMPATIENT)
    assert await the_task(opened) == (task, True)
    with pytest.raises(RegistryBusy):
        await take(opened, unit())
    await killed(child)
    assert await take(opened, unit()) == 1


async def test_a_registry_that_must_be_migrated_waits_for_a_frozen_writer_and_says_why(
    open_registry: OpenRegistry, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, str(file), stdout=asyncio.subprocess.PIPE)
    try:
        assert await line_of(holder) == "holding"
        holder.send_signal(signal.SIGSTOP)
        opening = asyncio.create_task(open_registry(timing=IMPATIENT))
        logged = ""

        def tried_three_times() -> bool:
            nonlocal logged
            logged += capsys.readouterr().out
            return logged.count("registry is busy, it is tried again") >= 3

        await eventually(tried_three_times, what="three lines about the waiting")
        assert "database is locked" in logged
        assert not opening.done()
    finally:
        await killed(holder)
    await insert(await opening, a_task())


async def test_waiting_for_a_frozen_writer_ends_with_what_to_do(open_registry: OpenRegistry, file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as foreign:
        foreign.execute("PRAGMA journal_mode=WAL")
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryUnreachable, match="end the process that holds it"):
            await open_registry(timing=Timing(busy_timeout_ms=100, open_timeout_s=0.3))


async def test_a_cancelled_write_blocks_nobody(open_registry: OpenRegistry, file: Path) -> None:
    registry = await open_registry(timing=Timing(busy_timeout_ms=5_000))
    await planned_task(registry)
    epoch = await take(registry, unit())
    for steps in range(25):
        write = asyncio.create_task(registry.report([a_report(unit(), epoch, owner=f"{steps}")]))
        for _ in range(steps):
            await asyncio.sleep(0)
        write.cancel()
        with suppress(asyncio.CancelledError):
            await write
        assert await registry.report([a_report(unit(), epoch)]) == set()
    with closing(sqlite3.connect(file, isolation_level=None, timeout=0)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        foreign.execute("ROLLBACK")


def test_no_method_of_the_registry_can_be_broken_off() -> None:
    asked = {*dir(EngineRegistry), *dir(TaskStore), "audit_events", "rotate_keys"}
    methods = [getattr(Registry, name) for name in asked if not name.startswith("_")]
    assert len(methods) >= 30
    assert [method for method in methods if not hasattr(method, "__wrapped__")] == []


async def test_a_cancelled_write_is_made_before_the_registry_closes(
    file: Path, key_file: Path, open_registry: OpenRegistry
) -> None:
    closing_one = await Registry.open(f"sqlite:///{file}", key_file)
    await planned_task(closing_one)
    taking = asyncio.create_task(take(closing_one, unit()))
    await asyncio.sleep(0)
    taking.cancel()
    await closing_one.close()
    assert taking.cancelled() or taking.cancelling()
    assert (await the_wanted(await open_registry())).units[0].epoch == 1


async def test_a_cancelled_wait_for_a_foreign_writer_leaves_the_writer_usable(open_registry: OpenRegistry, file: Path) -> None:
    registry = await open_registry(timing=Timing(busy_timeout_ms=2_000))
    await planned_task(registry)
    with closing(sqlite3.connect(file, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await take(registry, unit())
        foreign.execute("ROLLBACK")
    assert await take(registry, unit()) in (1, 2)
    with closing(sqlite3.connect(file, isolation_level=None, timeout=1)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        foreign.execute("ROLLBACK")


async def test_an_error_of_ours_rolls_back(registry: Registry) -> None:
    await planned_task(registry)
    with pytest.raises(RuntimeError):
        async with registry._database.write() as connection:
            await connection.exec_driver_sql("UPDATE units SET epoch = 50")
            raise RuntimeError
    assert await take(registry, unit()) == 1
