"""Kafka replications over the API (api.md §4.2, §4.4, §4.5, §6): what is decided once stays, what is shown can be sent back, secrets stay
inside, and whose instance a peer may be."""

from __future__ import annotations

from typing import Any

import pytest

from smartconnect.api import schemas
from smartconnect.control.policy import ControlPolicy
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from tests.unit.api.kit import (
    FOREIGN_INSTANCE,
    INSTANCE,
    PROJECT,
    SECOND_INSTANCE,
    Client,
    Service,
    replication,
    task_url,
    tasks_url,
)

VALIDATE = f"/v2/{PROJECT}/instances/{INSTANCE}/connector/validate"
BY_ID: dict[str, Any] = {"bootstrap_servers": ..., "instance_id": SECOND_INSTANCE, "cluster_name": ...}


async def created(client: Client, **changes: Any) -> dict[str, Any]:
    answer = await client.post(tasks_url(), replication(**changes))
    assert answer.status == 200, answer.body
    schemas.Task.model_validate(answer.json())
    return dict(answer.json())


async def test_a_small_request_comes_back_with_every_field(client: Client) -> None:
    task = await created(client)
    assert task["source_task"] == {
        "instance_id": "",
        "bootstrap_servers": "peer:9092",
        "security_protocol": "PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "user_name": "",
        "current_cluster_name": "orders",
        "cluster_name": "B",
        "direction": "pull",
        "task_num": 2,
        "consumer_strategy": "latest",
        "replication_factor": 3,
        "rename_topic_enabled": False,
        "topics_mapping": "",
        "provenance_header_enabled": False,
        "sync_consumer_offsets_enabled": False,
        "compression_type": "",
    }
    assert (task["sink_task"], task["sink_type"], task["source_type"]) == ({}, "NONE", "KAFKA_REPLICATOR_SOURCE")
    assert (task["topics"], task["status"]) == ("orders", "CREATING")


async def test_the_published_example_of_a_two_way_task(client: Client) -> None:
    source = {
        "current_cluster_name": "A",
        "cluster_name": "B",
        "instance_id": SECOND_INSTANCE,
        "direction": "two-way",
        "provenance_header_enabled": True,
        "topics_mapping": "topic-sc-1:topic-sc-3",
    }
    body = {"task_name": "to-dr-site", "start_later": True, "source_type": "KAFKA_REPLICATOR_SOURCE", "source_task": source}
    answer = await client.post(tasks_url(), body)
    assert answer.status == 200, answer.body
    task = answer.json()
    schemas.Task.model_validate(task)
    assert "topics" not in task and "topics_regex" not in task
    assert (task["status"], task["sink_task"]) == ("WAITING", {})
    assert task["source_task"]["bootstrap_servers"] == "10.0.0.1:9092,10.0.0.2:9093"
    assert (await client.get(task_url(task["id"]))).json() == task


async def test_terraforms_replication_without_aliases_and_protocol(client: Client) -> None:
    source = {"direction": "push", "instance_id": SECOND_INSTANCE, "task_num": 3, "rename_topic_enabled": False}
    body = {"task_name": "tf-acc-test", "topics": "topic-a", "source_type": "KAFKA_REPLICATOR_SOURCE", "source_task": source}
    answer = await client.post(tasks_url(), body)
    assert answer.status == 200, answer.body
    assert answer.json()["source_task"]["cluster_name"] == "b54c9dd8-0000-0000-0"


# -- decided once --------------------------------------------------------------------------------------------------------


async def test_what_is_decided_at_creation_outlives_the_names_it_came_from(client: Client, service: Service) -> None:
    service.replication.cluster_ids["peer:9092"] = "aBc/d+e-0123456789-and-more"
    by_id = await created(client, source={**BY_ID, "rename_topic_enabled": True})
    assert by_id["source_task"]["cluster_name"] == "b54c9dd8-0000-0000-0"
    asked = await created(client, name="asked", source={"cluster_name": ...})
    assert asked["source_task"]["cluster_name"] == "aBc_d_e-0123456789-a"
    for instance in (INSTANCE, SECOND_INSTANCE):
        service.replication.instances[instance] = service.replication.instances[instance].model_copy(update={"name": "renamed"})
    service.replication.cluster_ids.clear()
    for task in (by_id, asked):
        assert (await client.get(task_url(task["id"]))).json() == task
    cleared = {"source_task": {"cluster_name": "", "current_cluster_name": ""}, "restart": True}
    again = (await client.put(task_url(by_id["id"]), cleared)).json()
    assert (again["source_task"]["current_cluster_name"], again["source_task"]["cluster_name"]) == ("renamed", "renamed-2")


async def test_an_unreachable_peer_is_fine_without_checks_unless_it_has_to_tell_something(client: Client, service: Service) -> None:
    service.policy = ControlPolicy(check_connections=False)
    task = await created(client, source={"cluster_name": ..., "direction": "push"})
    assert (task["source_task"]["cluster_name"], task["source_task"]["replication_factor"]) == ("", None)
    answer = await client.post(tasks_url(), replication("needs-it", source={"cluster_name": ..., "rename_topic_enabled": True}))
    assert (answer.status, answer.code) == (400, "DMS.00400867")
    assert "does not answer to tell its cluster id" in answer.fields["source_task.cluster_name"]
    assert (await client.get(tasks_url())).json()["total_number"] == 1


async def test_cluster_ids_are_kept_but_never_shown(client: Client, service: Service) -> None:
    service.replication.cluster_ids["peer:9092"] = "canary-id"
    task = await created(client)
    stored = await service.registry.find_task(INSTANCE, task["id"])
    assert stored is not None
    assert stored[0].config.source_task["peer_cluster_id"] == "canary-id"
    assert "canary-id" not in str(task) + str((await client.get(tasks_url())).json())


# -- modify --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"source": BY_ID},
        {"source": {"user_name": "joe", "password": "CANARY"}},
        {"topics": ..., "source": {"topics_mapping": "a:b", "direction": "two-way"}},
        {"topics": ..., "topics_regex": "a.*", "source": {"rename_topic_enabled": True}},
        {"options": {"on_gap": "stop"}},
    ],
)
async def test_a_shown_task_sent_back_changes_nothing(client: Client, service: Service, changes: dict[str, Any]) -> None:
    task = await created(client, **changes)
    service.replication.checked.clear()
    nudges = service.nudges
    answer = await client.put(task_url(task["id"]), (await client.get(task_url(task["id"]))).json())
    assert (answer.status, answer.json()) == (200, task)
    stored = await service.registry.find_task(INSTANCE, task["id"])
    assert stored is not None and stored[0].revision == 1
    assert (service.replication.checked, service.nudges) == ([], nudges)


async def test_a_password_that_is_cleared_is_gone(client: Client, service: Service) -> None:
    task = await created(client, source={"user_name": "joe", "password": "CANARY", "security_protocol": "SASL_PLAINTEXT"})
    assert await service.registry.secrets(task["id"]) == {"source_task.password": Secret("CANARY")}
    refused = await client.put(task_url(task["id"]), {"source_task": {"security_protocol": "PLAINTEXT"}})
    assert set(refused.fields) == {"source_task.user_name", "source_task.password"}
    plain = {"security_protocol": "PLAINTEXT", "user_name": "", "password": ""}
    assert (await client.put(task_url(task["id"]), {"source_task": plain})).status == 200
    assert await service.registry.secrets(task["id"]) == {}
    assert (await client.put(task_url(task["id"]), {"source_task": {"task_num": 3}})).status == 200


async def test_the_password_never_comes_back(client: Client, service: Service) -> None:
    task = await created(client, source={"user_name": "joe", "password": "CANARY-1"})
    answer = await client.put(task_url(task["id"]), {"source_task": {"password": "CANARY-2", "task_num": 0}})
    assert answer.status == 400
    assert b"CANARY" not in answer.body
    assert (await client.put(task_url(task["id"]), {"source_task": {"password": "CANARY-2"}})).json() == task
    assert await service.registry.secrets(task["id"]) == {"source_task.password": Secret("CANARY-2")}
    assert b"CANARY" not in service.file.read_bytes()


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"direction": "push"}, "direction", "stored positions for direction pull"),
        ({"topics_mapping": "orders:copy"}, "topics_mapping", 'stored positions for topic "orders" as "orders"'),
        ({"rename_topic_enabled": True}, "rename_topic_enabled", 'stored positions for topic "orders" as "orders"'),
        ({"bootstrap_servers": "other:9092"}, "bootstrap_servers", "stored positions for the peer peer:9092"),
    ],
)
async def test_what_makes_positions_meaningless_needs_a_new_run(
    client: Client, service: Service, change: dict[str, Any], field: str, reason: str
) -> None:
    service.replication.cluster_ids |= {"peer:9092": "one", "other:9092": "two"}
    task = await created(client)
    answer = await client.put(task_url(task["id"]), {"source_task": change})
    assert (answer.status, answer.code) == (400, "DMS.00400873")
    assert reason in answer.fields[f"source_task.{field}"]
    assert (await client.get(task_url(task["id"]))).json() == task
    answer = await client.put(task_url(task["id"]), {"source_task": change, "restart": True})
    assert answer.status == 200, answer.body


async def test_other_addresses_of_the_same_cluster_are_taken(client: Client, service: Service) -> None:
    service.replication.cluster_ids |= {"peer:9092": "one", "moved:9092": "one"}
    task = await created(client)
    answer = await client.put(task_url(task["id"]), {"source_task": {"bootstrap_servers": "moved:9092"}})
    assert (answer.status, answer.json()["source_task"]["bootstrap_servers"]) == (200, "moved:9092")


# -- whose, and beside whom ----------------------------------------------------------------------------------------------


async def test_an_instance_of_another_project_is_no_peer(client: Client) -> None:
    for instance in (FOREIGN_INSTANCE, "b54c9dd8-0000-0000-0000-00000000ffff"):
        answer = await client.post(tasks_url(), replication(source={**BY_ID, "instance_id": instance}))
        assert (answer.status, answer.code) == (400, "DMS.00400062")
        assert answer.fields == {"source_task.instance_id": f'"{instance}" is no configured instance'}
    answer = await client.post(VALIDATE, {"type": "KAFKA_REPLICATOR_SOURCE", "task": {"instance_id": FOREIGN_INSTANCE}})
    assert (answer.code, set(answer.fields)) == ("DMS.00400062", {"task.instance_id"})


async def test_a_pair_of_topics_belongs_to_one_task(client: Client) -> None:
    first = await created(client)
    answer = await client.post(tasks_url(), replication("second"))
    assert (answer.status, answer.code) == (400, "DMS.00400874")
    assert 'task orders-copy replicates topic "orders" already' in answer.fields["topics"]
    second = await created(client, name="second", topics="bills")
    answer = await client.put(task_url(second["id"]), {"topics": "bills,orders"})
    assert (answer.status, answer.code) == (400, "DMS.00400874")
    await client.delete(task_url(first["id"]))
    assert (await client.post(tasks_url(), replication("third"))).status == 200


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((ProblemKind.TOPIC_MISSING, ProblemKind.REPLICATION_FACTOR), "DMS.00400876"),
        ((ProblemKind.REPLICATION_FACTOR, ProblemKind.KAFKA_CLUSTER), "DMS.00400861"),
        ((ProblemKind.KAFKA_CLUSTER, ProblemKind.LIVE), "DMS.40001016"),
        ((ProblemKind.LIVE,), "DMS.00400867"),
    ],
)
async def test_what_live_checks_find_has_its_code(
    client: Client, service: Service, kinds: tuple[ProblemKind, ...], code: str
) -> None:
    service.replication.findings = [Problem("source_task.bootstrap_servers", "is wrong", kind) for kind in kinds]
    answer = await client.post(tasks_url(), replication())
    assert (answer.status, answer.code) == (400, code)
    assert (await client.get(tasks_url())).json()["total_number"] == 0


async def test_validate_needs_what_names_the_peer_and_no_more(client: Client, service: Service) -> None:
    answer = await client.post(VALIDATE, {"type": "KAFKA_REPLICATOR_SOURCE", "task": {"bootstrap_servers": "127.0.0.1:9192"}})
    assert (answer.status, answer.body) == (200, b"{}")
    wrong = {"bootstrap_servers": "x", "direction": "up"}
    answer = await client.post(VALIDATE, {"type": "KAFKA_REPLICATOR_SOURCE", "task": wrong})
    assert (answer.code, set(answer.fields)) == ("DMS.00400062", {"task.bootstrap_servers", "task.direction"})
    answer = await client.post(VALIDATE, {"type": "KAFKA_REPLICATOR_SOURCE", "task": {"direction": "pull"}})
    assert set(answer.fields) == {"task.bootstrap_servers"}


async def test_a_task_whose_peer_is_not_configured_any_more_cannot_be_started(client: Client, service: Service) -> None:
    task = await created(client, source=BY_ID)
    assert (await client.put(task_url(task["id"], "pause"))).status == 204
    gone = service.replication.instances.pop(SECOND_INSTANCE)
    for action, code in (("resume", "DMS.00400869"), ("restart", "DMS.00400872")):
        answer = await client.put(task_url(task["id"], action))
        assert (answer.status, answer.code) == (400, code)
        assert "is not in the settings any more" in answer.fields["source_task.instance_id"]
    assert (await client.get(task_url(task["id"]))).json()["source_task"]["instance_id"] == SECOND_INSTANCE
    service.replication.instances[SECOND_INSTANCE] = gone
    assert (await client.put(task_url(task["id"], "resume"))).status == 204
