"""Checking a connection without a task (api.md §6)."""

from __future__ import annotations

import pytest

from smartconnect.control.policy import ControlPolicy
from smartconnect.domain.problems import Problem, ProblemKind
from tests.unit.api.kit import INSTANCE, PROJECT, SECOND_INSTANCE, SINK, Client, Service, tasks_url

URL = f"/v2/{PROJECT}/instances/{INSTANCE}/connector/validate"


@pytest.mark.parametrize("body", [{"type": "OBS_SINK", "task": SINK}, {"task": SINK}, {"type": "", "task": {**SINK, "foo": 1}}])
async def test_a_connection_that_holds_is_200_with_an_empty_object(client: Client, service: Service, body: object) -> None:
    service.policy = ControlPolicy(check_connections=False)
    answer = await client.post(URL, body)
    assert (answer.status, answer.body) == (200, b"{}")
    assert len(service.job.checked) == 1
    assert (await client.get(tasks_url())).json()["total_number"] == 0


@pytest.mark.parametrize("type_name", ["REDIS_REPLICATOR_SOURCE", "REDIS_REPLICATOR_SINK", "NONE", "x"])
async def test_a_type_that_cannot_be_checked_here_is_unsupported(client: Client, type_name: str) -> None:
    answer = await client.post(URL, {"type": type_name, "task": {"bootstrap_servers": "127.0.0.1:9192"}})
    assert (answer.code, list(answer.fields)) == ("DMS.00400007", ["type"])


@pytest.mark.parametrize("task", [{"bootstrap_servers": "127.0.0.1:9192"}, {"instance_id": SECOND_INSTANCE}])
async def test_an_absent_type_is_guessed_from_the_fields(client: Client, service: Service, task: dict[str, object]) -> None:
    assert (await client.post(URL, {"task": task})).status == 200
    assert (len(service.replication.checked), len(service.job.checked)) == (1, 0)


async def test_fields_that_tell_no_type_need_one(client: Client) -> None:
    answer = await client.post(URL, {"task": {"foo": 1}})
    assert (answer.code, list(answer.fields)) == ("DMS.00400007", ["type"])
    assert "is required" in answer.fields["type"]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"type": "OBS_SINK"}, {"task"}),
        ({"type": "OBS_SINK", "task": []}, {"task"}),
        ({"type": 1, "task": SINK}, {"type"}),
        ({"type": "OBS_SINK", "task": {}}, {"task.access_key", "task.secret_key", "task.obs_bucket_name"}),
        ({"type": "OBS_SINK", "task": {**SINK, "obs_path": "a//b"}}, {"task.obs_path"}),
    ],
)
async def test_wrong_fields_are_invalid_under_the_names_of_the_call(client: Client, body: object, fields: set[str]) -> None:
    answer = await client.post(URL, body)
    assert (answer.code, set(answer.fields)) == ("DMS.00400062", fields)


@pytest.mark.parametrize(
    "kind", [ProblemKind.STORE_CREDENTIALS, ProblemKind.KAFKA_CLUSTER, ProblemKind.TOPIC_MISSING, ProblemKind.LIVE]
)
async def test_whatever_the_checks_find_is_one_code(client: Client, service: Service, kind: ProblemKind) -> None:
    service.job.findings = [Problem("sink_task.access_key", "is wrong", kind), Problem("x", "warned", kind, warning=True)]
    answer = await client.post(URL, {"task": SINK})
    assert (answer.code, answer.fields) == ("DMS.00400870", {"task.access_key": "is wrong"})


async def test_a_warning_alone_does_not_refuse(client: Client, service: Service) -> None:
    service.job.findings = [Problem("sink_task.obs_bucket_name", "has a rule", ProblemKind.LIVE, warning=True)]
    assert (await client.post(URL, {"task": SINK})).status == 200


async def test_checks_that_hang_are_a_problem(client: Client, service: Service) -> None:
    service.job.hangs = True
    answer = await client.post(URL, {"task": SINK})
    assert (answer.code, list(answer.fields)) == ("DMS.00400870", ["task"])
