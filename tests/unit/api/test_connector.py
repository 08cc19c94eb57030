"""Enabling, disabling, and what an instance shows (api.md §6)."""

from __future__ import annotations

import pytest

from tests.unit.api.kit import (
    DISABLED_INSTANCE,
    INSTANCE,
    PROJECT,
    SECOND_INSTANCE,
    Client,
    dump,
    kafka_url,
    task_url,
    tasks_url,
)


def url(instance: str = INSTANCE, rest: str = "") -> str:
    return f"/v2/{PROJECT}/instances/{instance}{rest}"


async def test_enable_makes_a_connector_and_disable_takes_it_away(client: Client) -> None:
    enabled = await client.post(url(DISABLED_INSTANCE, "/connector"), {"node_cnt": 4, "specification": "100MB", "spec_code": "x"})
    assert enabled.status == 200
    assert set(enabled.json()) == {"job_id", "connector_id"}
    assert (await client.get(tasks_url(DISABLED_INSTANCE))).status == 200
    shown = (await client.get(url(DISABLED_INSTANCE))).json()
    assert (shown["connector_enable"], shown["connector_node_num"]) == (True, 4)
    assert shown["connector_id"] == enabled.json()["connector_id"]

    disabled = await client.post(kafka_url("delete-connector", DISABLED_INSTANCE), b"whatever")

    assert set(disabled.json()) == {"job_id"}
    assert (await client.get(tasks_url(DISABLED_INSTANCE))).code == "DMS.00404024"
    shown = (await client.get(url(DISABLED_INSTANCE))).json()
    assert (shown["connector_enable"], shown["connector_id"], shown["connector_node_num"]) == (False, "", 0)


@pytest.mark.parametrize(
    "body", [b"", b"{}", {"node_cnt": "2"}, {"node_cnt": 2.0}, {"node_cnt": 16}, {"node_cnt": None}, {"node_cnt": ""}]
)
async def test_enables_body_may_be_absent_and_its_number_a_string(client: Client, body: object) -> None:
    assert (await client.post(url(DISABLED_INSTANCE, "/connector"), body)).status == 200


@pytest.mark.parametrize("number", [1, 17, "1", "17", "x", "+2", "２", 2.5, True, [], "9" * 5000])
async def test_a_bad_number_of_nodes_is_invalid(client: Client, number: object) -> None:
    answer = await client.post(url(DISABLED_INSTANCE, "/connector"), {"node_cnt": number})
    assert (answer.code, list(answer.fields)) == ("DMS.00400062", ["node_cnt"])


async def test_enabling_twice_and_disabling_twice_are_404(client: Client) -> None:
    assert (await client.post(url(rest="/connector"))).code == "DMS.00404027"
    again = await client.post(kafka_url("delete-connector", DISABLED_INSTANCE))
    assert (again.status, again.code) == (404, "DMS.00404024")


async def test_disable_is_refused_while_there_are_tasks(client: Client) -> None:
    task = (await client.post(tasks_url(), dump())).json()["id"]
    refused = await client.post(kafka_url("delete-connector"))
    assert (refused.status, refused.code) == (500, "DMS.00501012")
    await client.delete(task_url(task))
    assert (await client.post(kafka_url("delete-connector"))).status == 200


async def test_resource_info_is_camel_case_and_real_json(client: Client) -> None:
    for instance in (INSTANCE, DISABLED_INSTANCE):
        assert (await client.get(url(instance, "/connector"))).body == b'{"soldOut":false}'


async def test_an_instance_shows_what_settings_and_registry_know(client: Client) -> None:
    plain = (await client.get(url())).json()
    assert {name: plain[name] for name in plain if name != "connector_id"} == {
        "instance_id": INSTANCE,
        "name": "orders",
        "engine": "kafka",
        "status": "RUNNING",
        "connect_address": "10.0.0.1,10.0.0.2",
        "port": 9092,
        "ssl_enable": False,
        "kafka_security_protocol": "PLAINTEXT",
        "sasl_enabled_mechanisms": [],
        "connector_enable": True,
        "connector_node_num": 2,
    }
    assert plain["connector_id"]
    secured = (await client.get(url(SECOND_INSTANCE))).json()
    assert (secured["ssl_enable"], secured["sasl_enabled_mechanisms"]) == (True, ["SCRAM-SHA-512"])
