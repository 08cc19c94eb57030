from __future__ import annotations

from pathlib import Path

import pytest

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.kafka import KafkaOptions, _cluster_id
from smartconnect.sandbox.kafka_files import NodeFile, NodePorts, render


def node(**changes: object) -> NodeFile:
    fields: dict[str, object] = {
        "node_id": 1,
        "ports": NodePorts(client=1, proxied=2, proxy=3, internal=4, controller=5),
        "data_folder": Path("data"),
        "nodes": 1,
        "first_controller_port": 5,
        "version": (4, 3, 1),
        "security": "PLAINTEXT",
    }
    return NodeFile(**{**fields, **changes})  # type: ignore[arg-type]  # the tests' changes are of the right types


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_clients_of_the_proxied_listener_are_sent_to_the_proxy_port() -> None:
    lines = properties(render(node()))
    assert "PROXIED://127.0.0.1:2" in lines["listeners"]
    assert "PROXIED://127.0.0.1:3" in lines["advertised.listeners"]
    assert "CONTROLLER" not in lines["advertised.listeners"]


def test_properties_of_the_caller_win() -> None:
    lines = properties(render(node(properties={"num.io.threads": "9", "offsets.retention.minutes": "1"})))
    assert lines["num.io.threads"] == "9"
    assert lines["offsets.retention.minutes"] == "1"


def test_further_nodes_are_brokers_that_know_the_controller() -> None:
    lines = properties(render(node(node_id=2, nodes=3)))
    assert lines["process.roles"] == "broker"
    assert "CONTROLLER" not in lines["listeners"]
    assert lines["controller.quorum.bootstrap.servers"] == "127.0.0.1:5"
    assert lines["transaction.state.log.min.isr"] == "2"


def test_kafka_before_dynamic_voters_has_its_voters_in_the_properties() -> None:
    lines = properties(render(node(version=(3, 3, 2))))
    assert lines["controller.quorum.voters"] == "1@127.0.0.1:5"
    assert "controller.quorum.bootstrap.servers" not in lines


def test_passwords_do_not_show_in_a_repr() -> None:
    assert "hidden" not in repr(node(plain_users={"bob": "hidden"}))
    assert "hidden" not in repr(KafkaOptions(plain_users={"bob": "hidden"}, scram_users={"bob": "hidden"}))


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(SandboxFailed, match="racks has 1 entries for 3 nodes"):
        KafkaOptions(nodes=3, racks=("a",))
    with pytest.raises(SandboxFailed, match="authorizer needs clients with a name"):
        KafkaOptions(authorizer=True)
    with pytest.raises(SandboxFailed, match="cannot be given SCRAM users"):
        KafkaOptions(version="3.3.2", scram_users={"alice": "secret"})


def test_no_cluster_id_begins_like_an_option_of_the_tools_that_it_is_given_to() -> None:
    ids = {_cluster_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert {len(cluster_id) for cluster_id in ids} == {22}
    assert not any(cluster_id.startswith("-") for cluster_id in ids)
