"""The task returned (api.md §4.2, §4.4): every field of the table, what the peer's instance says, never the password; and a shown task
sent back changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartconnect.control.merging import merged_body
from smartconnect.domain.secret import Secret
from smartconnect.jobs.kafka_replication.presentation import shown
from tests.unit.kafka_replication.requests import THERE, body, config, find, read

FIELDS = {
    "instance_id",
    "bootstrap_servers",
    "security_protocol",
    "sasl_mechanism",
    "user_name",
    "current_cluster_name",
    "cluster_name",
    "direction",
    "task_num",
    "consumer_strategy",
    "replication_factor",
    "rename_topic_enabled",
    "topics_mapping",
    "provenance_header_enabled",
    "sync_consumer_offsets_enabled",
    "compression_type",
}


def test_the_smallest_task_shows_every_field() -> None:
    source, sink = shown(config(), find)
    assert sink == {}
    assert source == {
        "instance_id": "",
        "bootstrap_servers": "peer:9092",
        "security_protocol": "PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "user_name": "",
        "current_cluster_name": "orders",
        "cluster_name": "",
        "direction": "pull",
        "task_num": 2,
        "consumer_strategy": "latest",
        "replication_factor": None,
        "rename_topic_enabled": False,
        "topics_mapping": "",
        "provenance_header_enabled": False,
        "sync_consumer_offsets_enabled": False,
        "compression_type": "",
    }


def test_a_configured_peer_shows_its_id_and_what_the_settings_say_of_it() -> None:
    source, _ = shown(config({"bootstrap_servers": ..., "instance_id": "there"}), find)
    assert source.keys() == FIELDS
    assert (source["instance_id"], source["bootstrap_servers"]) == ("there", THERE.bootstrap_servers)
    assert (source["security_protocol"], source["sasl_mechanism"], source["user_name"]) == ("SASL_SSL", "SCRAM-SHA-512", "copier")
    assert source["cluster_name"] == "Backup_site"
    assert "CANARY" not in json.dumps(source)


def test_an_instance_that_is_not_configured_any_more_can_still_be_shown() -> None:
    source, _ = shown(config({"bootstrap_servers": ..., "instance_id": "there"}), lambda _: None)
    assert source.keys() == FIELDS
    assert (source["instance_id"], source["bootstrap_servers"]) == ("there", "")


def test_what_was_sent_is_shown_verbatim_but_never_the_password() -> None:
    sent: dict[str, Any] = {
        "bootstrap_servers": "Peer-1:9092, peer-2:9093",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "user_name": "joe",
        "current_cluster_name": "A",
        "cluster_name": "B",
        "direction": "two-way",
        "task_num": 5,
        "consumer_strategy": "earliest",
        "replication_factor": 2,
        "rename_topic_enabled": False,
        "topics_mapping": "a:b , c:d",
        "provenance_header_enabled": True,
        "sync_consumer_offsets_enabled": True,
        "compression_type": "zstd",
    }
    source, _ = shown(config({**sent, "password": "CANARY"}, topics=...), find)
    assert source == {**sent, "instance_id": ""}


@pytest.mark.parametrize(
    ("sent", "changes"),
    [
        ({}, {}),
        ({"bootstrap_servers": ..., "instance_id": "there"}, {}),
        ({"bootstrap_servers": ..., "instance_id": "there", "user_name": "other", "password": "pw"}, {}),
        ({"bootstrap_servers": ..., "instance_id": "there", "security_protocol": "PLAINTEXT"}, {}),
        ({"user_name": "joe", "password": "pw", "security_protocol": "SASL_PLAINTEXT"}, {}),
        ({"user_name": "joe", "password": "pw"}, {}),
        ({"topics_mapping": "a:b", "direction": "two-way"}, {"topics": ...}),
        ({"rename_topic_enabled": True, "cluster_name": "B", "replication_factor": 1}, {"topics": ..., "topics_regex": "a.*"}),
    ],
)
def test_a_shown_task_sent_back_changes_nothing(sent: dict[str, Any], changes: dict[str, Any]) -> None:
    parsed = read(body(sent, **changes))
    assert parsed.problems == []
    source, sink = shown(parsed.config, find)
    again = {"topics": parsed.config.topics, "topics_regex": parsed.config.topics_regex, "source_task": source, "sink_task": sink}
    back = read(merged_body(json.loads(json.dumps(again)), parsed.config, parsed.secrets))
    assert back.problems == []
    assert back.ignored == []
    assert back.secrets == parsed.secrets
    assert shown(back.config, find) == (source, sink)


def test_new_addresses_of_the_peer_in_the_settings_do_not_contradict_what_was_stored() -> None:
    stored = config({"instance_id": "there", "bootstrap_servers": THERE.bootstrap_servers, "user_name": "copier"})
    moved = THERE.model_copy(update={"bootstrap_servers": "10.1.0.9:9093", "user_name": "copier2"})
    source, _ = shown(stored, lambda _: moved)
    assert (source["bootstrap_servers"], source["user_name"]) == ("10.1.0.9:9093", "copier2")
    assert Secret("x") not in stored.source_task.values()
