"""A canary in each secret field is searched for in answers, logs, events, metrics, reprs and the database file (api.md §10.8)."""

from __future__ import annotations

from typing import Any

import pytest

from smartconnect.domain.problems import Problem, ProblemKind
from tests.unit.api.kit import INSTANCE, PROJECT, Client, Service, dump, replication, task_url, tasks_url

CANARIES = (b"AK-CANARY", b"SK-CANARY")


async def test_secrets_are_nowhere_to_be_found(client: Client, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    created = await client.post(tasks_url(), dump())
    task = created.json()["id"]
    bodies = [created.body]
    refused = {"access_key": "AK-CANARY" * 500, "secret_key": ["SK-CANARY"]}
    for answer in (
        await client.get(task_url(task)),
        await client.get(tasks_url()),
        await client.get(task_url(task, "progress")),
        await client.put(task_url(task), {"sink_task": {"access_key": "AK-CANARY", "secret_key": "SK-CANARY", "flush_size": 5}}),
        await client.put(task_url(task), {"sink_task": {"access_key": "AK-CANARY"}}),
        await client.post(tasks_url(), dump(sink=refused)),
        await client.post(f"/v2/{PROJECT}/instances/{INSTANCE}/connector/validate", {"task": {**refused, "obs_bucket_name": "x"}}),
        await client.get("/metrics"),
    ):
        bodies.append(answer.body)
    service.job.error = RuntimeError("unexpected")
    bodies.append((await client.post(tasks_url(), dump("other"))).body)
    out, err = capsys.readouterr()
    shown = [
        *bodies,
        out.encode(),
        err.encode(),
        repr(service.job.checked).encode(),
        repr(await service.registry.secrets(task)).encode(),
    ]
    shown += [file.read_bytes() for file in service.file.parent.iterdir() if file.name.startswith("registry.db")]
    for canary in CANARIES:
        assert not [text for text in shown if canary in text]


CANARY = "SK/CANARY+0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
"""No legal name of anything, and longer than what is quoted."""


@pytest.mark.parametrize(
    "wrong",
    [
        {"sink": {"obs_bucket_name": CANARY}},
        {"sink": {"obs_bucket_name": f"my {CANARY}"}},
        {"sink": {"obs_path": f"a//{CANARY}"}},
        {"sink": {"timezone": CANARY, "consumer_strategy": CANARY, "record_delimiter": CANARY}},
        {"sink": {"flush_size": CANARY, "store_keys": CANARY}},
        {"topics": f"orders,{CANARY}"},
        {"topics": ..., "topics_regex": f"({CANARY}"},
        {"task_name": CANARY},
        {"sink_type": CANARY},
        {"options": {"on_gap": CANARY, CANARY: 1}},
    ],
)
async def test_a_secret_typed_into_another_field_is_never_quoted(client: Client, wrong: dict[str, Any]) -> None:
    sink = {"secret_key": CANARY, **wrong.pop("sink", {})}
    created = (await client.post(tasks_url(), dump())).json()["id"]
    refused = dump("other", **{**wrong, "sink": sink})
    answers = [await client.post(tasks_url(), refused)]
    if "sink_type" not in wrong:
        answers.append(await client.put(task_url(created), refused))
        answers.append(await client.post(f"/v2/{PROJECT}/instances/{INSTANCE}/connector/validate", {"task": refused["sink_task"]}))
    assert answers[0].status == 400
    for answer in answers:
        assert b"CANARY" not in answer.body


async def test_a_password_typed_into_another_field_is_never_quoted(client: Client) -> None:
    source = {"user_name": "joe", "password": "CANARY 1", "bootstrap_servers": "CANARY 1", "direction": "CANARY 1"}
    answer = await client.post(tasks_url(), replication(source=source))
    assert answer.status == 400
    assert b"CANARY" not in answer.body


async def test_what_live_checks_say_of_a_secret_is_not_told(client: Client, service: Service) -> None:
    found = Problem("sink_task.obs_bucket_name", "bucket SK-CANARY does not exist", ProblemKind.LIVE)
    service.job.findings = [found]
    assert b"CANARY" not in (await client.post(tasks_url(), dump())).body
    service.job.findings = [Problem(found.field, found.reason, found.kind, warning=True)]
    created = await client.post(tasks_url(), dump(sink={"SK-CANARY": 1}))
    progress = await client.get(task_url(created.json()["id"], "progress"))
    assert b"CANARY" not in progress.body
    assert {event["message"] for event in progress.json()["events"]} == {
        "sink_task.obs_bucket_name: bucket *** does not exist",
        "ignored: sink_task.***",
    }


async def test_the_stored_secret_is_not_quoted_when_a_modification_types_it_elsewhere(client: Client) -> None:
    task = (await client.post(tasks_url(), dump(sink={"secret_key": "SK CANARY"}))).json()["id"]
    answer = await client.put(task_url(task), {"sink_task": {"obs_bucket_name": "SK CANARY"}})
    assert answer.status == 400
    assert b"CANARY" not in answer.body
