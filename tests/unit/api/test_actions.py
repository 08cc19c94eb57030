"""Every cell of the table of api.md §5, and the statuses that clients poll for (§9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smartconnect.domain.task import Desired, Reason, Task
from tests.unit.api.kit import INSTANCE, Client, Service, dump, kafka_url, task_url, tasks_url


async def make(client: Client, service: Service, state: str) -> str:
    """A task in one column of the table."""
    waiting = state == "WAITING"
    task = str((await client.post(tasks_url(), dump(start_later=waiting))).json()["id"])
    if state == "paused":
        await client.put(task_url(task, "pause"))
    if state == "FAILED":
        found = await stored(service, task)
        await service.registry.fail_task(task, found.run, found.revision, Reason("failed", "the log is gone", since=1))
    return task


async def stored(service: Service, task: str) -> Task:
    found = await service.registry.find_task(INSTANCE, task)
    assert found is not None
    return found[0]


async def status(client: Client, task: str) -> str:
    return str((await client.get(task_url(task))).json()["status"])


async def act(client: Client, task: str, action: str) -> tuple[int, str]:
    answer = await (client.delete(task_url(task)) if action == "delete" else client.put(task_url(task, action)))
    return answer.status, answer.code if answer.body else ""


@pytest.mark.parametrize(
    ("state", "action", "answer", "desired", "run", "shown"),
    [
        ("WAITING", "pause", (400, "DMS.00400868"), Desired.WAITING, 0, "WAITING"),
        ("WAITING", "resume", (400, "DMS.00400869"), Desired.WAITING, 0, "WAITING"),
        ("WAITING", "restart", (204, ""), Desired.RUNNING, 1, "WAITING"),
        ("running", "pause", (204, ""), Desired.PAUSED, 1, "PAUSED"),
        ("running", "resume", (204, ""), Desired.RUNNING, 1, "CREATING"),
        ("running", "restart", (204, ""), Desired.RUNNING, 2, "CREATING"),
        ("paused", "pause", (204, ""), Desired.PAUSED, 1, "PAUSED"),
        ("paused", "resume", (204, ""), Desired.RUNNING, 1, "PAUSED"),
        ("paused", "restart", (204, ""), Desired.RUNNING, 2, "RESTARTING"),
        ("FAILED", "pause", (204, ""), Desired.PAUSED, 1, "PAUSED"),
        ("FAILED", "resume", (204, ""), Desired.RUNNING, 1, "RUNNING"),
        ("FAILED", "restart", (204, ""), Desired.RUNNING, 2, "RESTARTING"),
    ],
)
async def test_cell(
    client: Client, service: Service, state: str, action: str, answer: tuple[int, str], desired: Desired, run: int, shown: str
) -> None:
    task = await make(client, service, state)
    assert await act(client, task, action) == answer
    after = await stored(service, task)
    assert (after.desired, after.run) == (desired, run)
    assert await status(client, task) == shown


@pytest.mark.parametrize("state", ["WAITING", "running", "paused", "FAILED"])
async def test_delete_hides_a_task_in_any_state_at_once(client: Client, service: Service, state: str) -> None:
    task = await make(client, service, state)
    assert await act(client, task, "delete") == (204, "")
    assert await act(client, task, "delete") == (404, "DMS.00404026")
    for action in ("pause", "resume", "restart"):
        assert await act(client, task, action) == (404, "DMS.00404026")
    assert (await client.get(tasks_url())).json()["total_number"] == 0


async def test_a_failed_task_shows_its_reason_also_when_paused(client: Client, service: Service) -> None:
    task = await make(client, service, "FAILED")
    assert await status(client, task) == "FAILED"
    progress = (await client.get(task_url(task, "progress"))).json()
    assert (progress["health"], progress["reason"]["message"]) == ("failed", "the log is gone")
    await act(client, task, "pause")
    progress = (await client.get(task_url(task, "progress"))).json()
    assert (progress["health"], progress["reason"]["message"]) == ("stopped", "the log is gone")
    await act(client, task, "resume")
    assert (await client.get(task_url(task, "progress"))).json()["reason"] is None


async def test_both_spellings_of_restart_do_the_same(client: Client, service: Service) -> None:
    task = await make(client, service, "running")
    assert (await client.put(kafka_url(f"connector/tasks/{task}/restart"))).status == 204
    assert (await client.put(task_url(task, "restart"))).status == 204
    assert (await stored(service, task)).run == 3


async def test_calls_may_follow_each_other_without_waiting(client: Client, service: Service) -> None:
    task = await make(client, service, "WAITING")
    history = [await status(client, task)]
    for action in ("restart", "pause", "resume", "restart", "pause", "delete"):
        assert (await act(client, task, action))[0] == 204
        if action != "delete":
            history.append(await status(client, task))
    assert history == ["WAITING", "WAITING", "PAUSED", "PAUSED", "RESTARTING", "PAUSED"]


async def test_a_second_restart_of_a_first_start_still_shows_waiting(client: Client, service: Service) -> None:
    task = await make(client, service, "WAITING")
    await act(client, task, "restart")
    await act(client, task, "restart")
    assert (await stored(service, task)).run == 2
    assert await status(client, task) == "WAITING"


async def test_parallel_actions_all_answer_and_leave_one_state(client: Client, service: Service) -> None:
    task = await make(client, service, "running")
    actions = ["pause", "resume", "restart"] * 4
    answers = await asyncio.gather(*(act(client, task, action) for action in actions))
    assert {code for code, _ in answers} == {204}
    assert (await stored(service, task)).desired in (Desired.RUNNING, Desired.PAUSED)
    assert 2 <= (await stored(service, task)).run <= 5


async def test_delete_wins_against_every_action(client: Client, service: Service) -> None:
    for number in range(3):
        created = await client.post(tasks_url(), dump(f"task{number}"))
        task = created.json()["id"]
        actions: list[Any] = [act(client, task, action) for action in ("pause", "restart", "delete", "resume", "pause")]
        answers = await asyncio.gather(*actions)
        assert answers[2] == (204, "")
        assert {code for code, _ in answers} <= {204, 404}
        assert (await client.get(task_url(task))).status == 404


async def test_every_action_leaves_its_documented_audit_event(client: Client, service: Service) -> None:
    task = await make(client, service, "WAITING")
    for action in ("pause", "restart", "pause", "resume", "delete", "delete"):
        await act(client, task, action)
    rows = await audit_rows(service)
    assert [(row["name"], row["outcome"], row["code"]) for row in rows] == [
        ("createConnectorTask", "Success", None),
        ("pauseConnector", "Failure", "DMS.00400868"),
        ("restartConnector", "Success", None),
        ("pauseConnector", "Success", None),
        ("resumeConnector", "Success", None),
        ("deleteConnectorTask", "Success", None),
        ("deleteConnectorTask", "Failure", "DMS.00404026"),
    ]
    assert {row["task_id"] for row in rows} == {task}
    assert all(len(row["request_id"]) == 32 and row["access_key"].startswith("token-") for row in rows)


async def audit_rows(service: Service) -> list[dict[str, Any]]:
    import sqlite3

    connection = sqlite3.connect(service.file)
    connection.row_factory = sqlite3.Row
    try:
        table = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%audit%' AND type = 'table'").fetchone()[0]
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]
    finally:
        connection.close()
