"""A canary in each secret field is searched for in answers, logs, events, metrics, reprs and the database file (api.md §10.8)."""

from __future__ import annotations

import pytest

from tests.unit.api.kit import INSTANCE, PROJECT, Client, Service, dump, task_url, tasks_url

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
