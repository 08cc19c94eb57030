"""A registry that does not answer is a 503 that can be tried again, whatever was asked; the cause is only in the log (api.md §8)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from smartconnect.registry import Registry, Timing
from tests.unit.api.kit import INSTANCE, PROJECT, Answer, Client, MovableClock, Service, build, dump, ruin, task_url, tasks_url

CONNECTOR = f"/v2/{PROJECT}/instances/{INSTANCE}/connector"


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Its registry waits for nobody for long."""
    clock, file = MovableClock(), tmp_path / "registry.db"
    registry = await Registry.open(f"sqlite:///{file}", tmp_path / "registry.key", timing=Timing(busy_timeout_ms=100))
    try:
        yield build(registry, file, clock)
    finally:
        await registry.close()


def is_away(answer: Answer) -> bool:
    content = answer.json()
    assert (answer.status, content["error_code"]) == (503, "DMS.00500000")
    assert "the registry does not answer" in content["error_msg"]
    assert content["request_id"] == answer.headers["x-request-id"]
    assert b"registry.db" not in answer.body
    return True


@pytest.mark.parametrize("what", ["", "progress"])
async def test_a_task_is_asked_for_while_the_registry_cannot_be_read(
    client: Client, service: Service, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = (await client.post(tasks_url(), dump())).json()["id"]
    ruin(service.file)
    assert is_away(await client.get(task_url(task, what)))
    logged = capsys.readouterr().out
    assert "registry.db does not answer" in logged
    assert "Traceback" not in logged


async def test_every_call_says_so_while_the_registry_cannot_be_read(client: Client, service: Service) -> None:
    task = (await client.post(tasks_url(), dump())).json()["id"]
    ruin(service.file)
    for answer in (
        await client.get(tasks_url()),
        await client.get(f"/v2/{PROJECT}/instances/{INSTANCE}"),
        await client.post(tasks_url(), dump("other")),
        await client.put(task_url(task), {"sink_task": {"flush_size": 5}}),
        await client.put(task_url(task, "pause")),
        await client.put(task_url(task, "restart")),
        await client.delete(task_url(task)),
        await client.post(CONNECTOR),
        await client.post(f"{CONNECTOR}/validate", {"type": "OBS_SINK", "task": dump()["sink_task"]}),
    ):
        assert is_away(answer)


async def test_while_another_process_writes_for_long_changes_wait_in_vain_and_looks_are_answered(
    client: Client, service: Service
) -> None:
    task = (await client.post(tasks_url(), dump())).json()["id"]
    with closing(sqlite3.connect(service.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert is_away(await client.put(task_url(task, "pause")))
        assert (await client.get(task_url(task))).status == 200
        assert (await client.get(task_url(task, "progress"))).status == 200
        other.execute("ROLLBACK")
    assert (await client.put(task_url(task, "pause"))).status == 204
