"""Modifying tasks (api.md §6)."""

from __future__ import annotations

from typing import Any

import pytest

from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import Task
from tests.unit.api.kit import INSTANCE, Answer, Client, Service, dump, task_url, tasks_url


@pytest.fixture
async def task(client: Client) -> dict[str, Any]:
    body = dump(sink={"deliver_time_interval": 60, "agency_name": "mine"}, options={"jitter": 0.2})
    return dict((await client.post(tasks_url(), body)).json())


async def stored(service: Service, task: dict[str, Any]) -> Task:
    found = await service.registry.find_task(INSTANCE, task["id"])
    assert found is not None
    return found[0]


async def change(client: Client, task: dict[str, Any], body: object) -> Answer:
    return await client.put(task_url(task["id"]), body)


async def test_a_shown_task_sent_back_changes_nothing(client: Client, service: Service, task: dict[str, Any]) -> None:
    before = await stored(service, task)
    service.job.checked.clear()

    answer = await change(client, task, task)

    assert answer.json() == task
    assert await stored(service, task) == before
    assert service.job.checked == []
    assert (await client.get(task_url(task["id"], "progress"))).json()["events"] == []


async def test_secrets_sent_again_change_nothing_either(client: Client, service: Service, task: dict[str, Any]) -> None:
    before = await stored(service, task)
    await change(client, task, {"sink_task": {"access_key": "AK-CANARY", "secret_key": "SK-CANARY"}})
    assert await stored(service, task) == before


async def test_absent_fields_are_kept_and_secrets_need_not_be_repeated(
    client: Client, service: Service, task: dict[str, Any]
) -> None:
    answer = await change(client, task, {"sink_task": {"deliver_time_interval": 120, "flush_size": None}})

    assert answer.status == 200
    assert answer.json()["sink_task"] == {**task["sink_task"], "deliver_time_interval": 120}
    assert answer.json()["status"] == "CREATING"
    after = await stored(service, task)
    assert after.revision == 2
    assert (await service.registry.secrets(task["id"]))["sink_task.secret_key"] == Secret("SK-CANARY")
    assert service.job.checked[-1][2]["sink_task.access_key"] == Secret("AK-CANARY")


async def test_an_empty_string_clears(client: Client, task: dict[str, Any]) -> None:
    answer = await change(
        client, task, {"sink_task": {"deliver_time_interval": "", "obs_path": "", "agency_name": ""}, "options": {"jitter": ""}}
    )
    assert answer.json()["sink_task"]["deliver_time_interval"] == 300
    assert answer.json()["sink_task"]["obs_path"] == ""
    assert "agency_name" not in answer.json()["sink_task"]
    assert answer.json()["options"] == {}


async def test_one_of_topics_and_pattern_replaces_the_other(client: Client, task: dict[str, Any]) -> None:
    by_pattern = (await change(client, task, {"topics_regex": "orders.*"})).json()
    assert ("topics" in by_pattern, by_pattern["topics_regex"]) == (False, "orders.*")
    by_name = (await change(client, task, {"topics": "users"})).json()
    assert ("topics_regex" in by_name, by_name["topics"]) == (False, "users")
    both = await change(client, task, {"topics": "users", "topics_regex": "orders.*"})
    assert both.code == "DMS.00400062"
    neither = await change(client, task, {"topics": ""})
    assert (neither.code, list(neither.fields)) == ("DMS.00400062", ["topics"])


async def test_new_keys_come_together_and_count_at_once(client: Client, service: Service, task: dict[str, Any]) -> None:
    alone = await change(client, task, {"sink_task": {"access_key": "AK-NEW"}})
    assert alone.code == "DMS.00400873"
    assert alone.fields == {"sink_task.secret_key": "must come together with sink_task.access_key"}

    both = await change(client, task, {"sink_task": {"access_key": "AK-NEW", "secret_key": "SK-NEW"}})

    assert both.status == 200
    assert (await service.registry.secrets(task["id"]))["sink_task.secret_key"] == Secret("SK-NEW")
    assert (await stored(service, task)).revision == 2


@pytest.mark.parametrize("types", [{"source_type": "KAFKA_REPLICATOR_SOURCE"}, {"sink_type": "REDIS_REPLICATOR_SINK"}])
async def test_the_kind_cannot_change(client: Client, task: dict[str, Any], types: dict[str, str]) -> None:
    answer = await change(client, task, types)
    assert (answer.code, list(answer.fields)) == ("DMS.00400873", list(types))


async def test_another_bucket_is_refused_unless_a_new_run_begins_with_it(
    client: Client, service: Service, task: dict[str, Any]
) -> None:
    body = {"sink_task": {"obs_bucket_name": "other"}}
    refused = await change(client, task, body)
    assert refused.json()["error_msg"] == (
        "Failed to modify the Smart Connect task: sink_task.obs_bucket_name: run 1 has stored positions for bucket lake; "
        'create another task, or send "restart": true with the change to begin a new run'
    )
    assert (await stored(service, task)).config.sink_task["obs_bucket_name"] == "lake"

    accepted = await change(client, task, {**body, "restart": True})

    assert accepted.json()["sink_task"]["obs_bucket_name"] == "other"
    assert "restart" not in accepted.json()
    assert (await stored(service, task)).run == 2


async def test_while_waiting_another_bucket_is_accepted(client: Client, service: Service) -> None:
    task = (await client.post(tasks_url(), dump(start_later=True))).json()
    answer = await change(client, task, {"sink_task": {"obs_bucket_name": "other"}})
    assert answer.json()["status"] == "WAITING"
    assert (await stored(service, task)).run == 0


async def test_problems_in_fields_and_between_them_are_listed_together_as_invalid(client: Client, task: dict[str, Any]) -> None:
    answer = await change(client, task, {"source_type": "X", "restart": "yes", "sink_task": {"flush_size": 2.5, "secret_key": "x"}})
    assert answer.code == "DMS.00400062"
    assert set(answer.fields) == {"source_type", "restart", "sink_task.flush_size", "sink_task.access_key"}


async def test_the_name_can_change_but_not_to_anothers(client: Client, service: Service, task: dict[str, Any]) -> None:
    await client.post(tasks_url(), dump("taken"))
    service.job.checked.clear()
    assert (await change(client, task, {"task_name": "taken"})).code == "DMS.00400873"
    renamed = await change(client, task, {"task_name": "renamed"})
    assert renamed.json()["task_name"] == "renamed"
    assert service.job.checked == []


async def test_live_checks_of_a_change_are_refused_as_modify_failed(client: Client, service: Service, task: dict[str, Any]) -> None:
    service.job.findings = [Problem("sink_task.obs_path", "is not writable", ProblemKind.LIVE)]
    assert (await change(client, task, {"sink_task": {"obs_path": "new"}})).code == "DMS.00400873"
    assert (await stored(service, task)).revision == 1


async def test_moving_onto_another_tasks_target_is_refused(client: Client, task: dict[str, Any]) -> None:
    await client.post(tasks_url(), dump("other", sink={"obs_path": "theirs"}))
    answer = await change(client, task, {"sink_task": {"obs_path": "/theirs/"}})
    assert (answer.code, list(answer.fields)) == ("DMS.00400873", ["sink_task.obs_path"])


async def test_moving_onto_the_target_of_a_task_being_deleted_is_refused(client: Client, task: dict[str, Any]) -> None:
    other = (await client.post(tasks_url(), dump("other", sink={"obs_path": "theirs"}))).json()
    await client.delete(task_url(other["id"]))
    answer = await change(client, task, {"sink_task": {"obs_path": "theirs"}})
    assert "try again when that is done" in answer.fields["sink_task.obs_path"]


async def test_a_successor_that_waits_for_a_deleted_task_can_still_be_modified(client: Client, task: dict[str, Any]) -> None:
    await client.delete(task_url(task["id"]))
    successor = (await client.post(tasks_url(), dump())).json()
    answer = await change(client, successor, {"sink_task": {"deliver_time_interval": 90}})
    assert answer.status == 200


async def test_unknown_fields_of_a_change_are_named_in_an_event(client: Client, task: dict[str, Any]) -> None:
    await change(client, task, {"foo": 1, "sink_task": {"bar": 1}})
    await change(client, task, {"foo2": 1, "sink_task": {"flush_size": 10}})
    events = (await client.get(task_url(task["id"], "progress"))).json()["events"]
    assert {event["message"] for event in events} == {"ignored: foo, sink_task.bar", "ignored: foo2"}


@pytest.mark.parametrize("field", ["sink_task", "source_task", "options"])
async def test_a_side_that_is_no_object_is_invalid(client: Client, task: dict[str, Any], field: str) -> None:
    answer = await change(client, task, {field: "text"})
    assert (answer.code, answer.fields) == ("DMS.00400062", {field: 'must be an object, not "text"'})
