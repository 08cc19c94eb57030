"""What a request that was accepted means: the options of one task over the service's own, and the whole specification
(kafka-replication.md §1, §13)."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartconnect.domain.errors import ClusterUnreachable, SettingsInvalid
from smartconnect.domain.kafka_replication_spec import Delivery, Direction, ReplicationOptions
from smartconnect.domain.policies import ConsumerStrategy, OnGap
from smartconnect.domain.secret import Secret
from smartconnect.jobs.kafka_replication.peers import peer_connection
from smartconnect.jobs.kafka_replication.request import OPTION_FIELDS, default_options, to_spec
from smartconnect.settings import InstanceSettings, KafkaReplicationSettings
from tests.unit.kafka_replication.requests import THERE, body, config, find, read, reasons

DEFAULTS = ReplicationOptions()


# -- options -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("delivery", "at_least_once", "exactly-once"),
        ("commit_min_ms", 0, -1),
        ("commit_interval_ms", 1, 0),
        ("transaction_timeout_ms", 900_000, 900_001),
        ("refresh_interval_s", 0.2, 0.1),
        ("config_sync_interval_s", 1, "1"),
        ("group_sync_interval_s", 0.5, 0),
        ("groups_include", "a.*,b", "a,("),
        ("groups_exclude", "", "(?=x)"),
        ("sync_topic_configs", True, 1),
        ("on_gap", "stop", "halt"),
        ("on_rejected_record", "clamp", "drop"),
        ("timestamps", "producer", "append"),
        ("produce_connections", 4, 5),
        ("mm2_topics", True, "yes"),
        ("heartbeats", True, 0),
        ("drain_timeout_s", 0, 601),
    ],
)
def test_options_of_one_task(name: str, good: object, bad: object) -> None:
    parsed = read(body(options={name: good}))
    assert parsed.problems == []
    assert parsed.config.options == {name: good}
    assert getattr(to_spec(parsed.config, {}, find, DEFAULTS).options, name) == good
    problems = read(body(options={name: bad})).problems
    assert [problem.field for problem in problems] == [f"options.{name}"]


def test_every_option_is_read_and_what_is_no_option_is_refused() -> None:
    assert {field.name for field in OPTION_FIELDS} == {field.name for field in fields_of(ReplicationOptions)}
    for name in ("buffer_mb", "peer_ca_file", "step_log"):
        assert reasons(body(options={name: 1})) == {f"options.{name}": "is a setting of the service, not of a task"}
    assert reasons(body(options={"janitor_min_age_s": 1})) == {"options.janitor_min_age_s": "is no option of this kind"}


def test_the_services_defaults_are_those_of_the_specification() -> None:
    assert default_options(KafkaReplicationSettings()) == ReplicationOptions()
    changed = KafkaReplicationSettings(delivery=Delivery.AT_LEAST_ONCE, on_gap=OnGap.STOP, groups_include="a.*")
    options = to_spec(config(options={"on_gap": "continue"}), {}, find, default_options(changed)).options
    assert (options.delivery, options.on_gap, options.groups_include) == (Delivery.AT_LEAST_ONCE, OnGap.CONTINUE, "a.*")


def test_a_pattern_of_the_service_that_is_none_is_told_with_its_key() -> None:
    with pytest.raises(SettingsInvalid, match=r"kafka_replication\.groups_exclude: \"\(\" is no regular expression"):
        default_options(KafkaReplicationSettings(groups_exclude="a,("))


# -- the specification ---------------------------------------------------------------------------------------------------


def test_defaults_of_the_specification() -> None:
    spec = to_spec(config(), {}, find, DEFAULTS)
    assert (spec.task_num, spec.strategy, spec.compression, spec.replication_factor) == (2, ConsumerStrategy.LATEST, None, None)
    assert (spec.rename, spec.mapping, spec.provenance_header, spec.sync_offsets) == (False, {}, False, False)
    assert spec.directions == (Direction.PULL,)
    assert spec.options is DEFAULTS


def test_everything_in_the_specification() -> None:
    sent = {
        "direction": "two-way",
        "current_cluster_name": "A",
        "cluster_name": "B",
        "task_num": 7,
        "consumer_strategy": "earliest",
        "replication_factor": 2,
        "rename_topic_enabled": True,
        "provenance_header_enabled": True,
        "sync_consumer_offsets_enabled": True,
        "compression_type": "lz4",
    }
    spec = to_spec(config(sent, topics=..., topics_regex="o.*"), {}, find, DEFAULTS)
    assert (spec.topics, spec.topics_regex, spec.directions) == ((), "o.*", (Direction.PULL, Direction.PUSH))
    assert (spec.aliases(Direction.PULL), spec.aliases(Direction.PUSH)) == (("B", "A"), ("A", "B"))
    assert (spec.task_num, spec.strategy, spec.replication_factor, spec.compression) == (7, ConsumerStrategy.EARLIEST, 2, "lz4")
    assert spec.rename and spec.provenance_header and spec.sync_offsets


@pytest.mark.parametrize(
    ("sent", "reached"),
    [
        ({}, ("PLAINTEXT", "PLAIN", "", "")),
        ({"user_name": "joe", "password": "pw"}, ("SASL_SSL", "PLAIN", "joe", "pw")),
        ({"user_name": "joe", "password": "pw", "sasl_mechanism": "SCRAM-SHA-256"}, ("SASL_SSL", "SCRAM-SHA-256", "joe", "pw")),
        ({"security_protocol": "SSL"}, ("SSL", "PLAIN", "", "")),
    ],
)
def test_a_peer_by_addresses(sent: dict[str, Any], reached: tuple[str, ...]) -> None:
    parsed = read(body(sent))
    peer = to_spec(parsed.config, parsed.secrets, find, DEFAULTS).peer
    connection = peer_connection(peer, find, "/etc/peer-ca.pem")
    assert type(connection) is not InstanceSettings
    found = (connection.security_protocol, connection.sasl_mechanism, connection.user_name, connection.password.reveal())
    assert found == reached
    assert (connection.bootstrap_servers, connection.ca_file) == ("peer:9092", "/etc/peer-ca.pem")


@pytest.mark.parametrize(
    ("sent", "reached"),
    [
        ({}, ("SASL_SSL", "SCRAM-SHA-512", "copier", "CANARY-instance")),
        ({"user_name": "joe", "password": "pw"}, ("SASL_SSL", "SCRAM-SHA-512", "joe", "pw")),
        ({"password": "pw"}, ("SASL_SSL", "SCRAM-SHA-512", "copier", "pw")),
        ({"sasl_mechanism": "PLAIN"}, ("SASL_SSL", "PLAIN", "copier", "CANARY-instance")),
        ({"security_protocol": "PLAINTEXT"}, ("PLAINTEXT", "SCRAM-SHA-512", "", "")),
    ],
)
def test_a_configured_peer_with_what_the_request_says(sent: dict[str, Any], reached: tuple[str, ...]) -> None:
    parsed = read(body({"instance_id": "there", "bootstrap_servers": ..., **sent}))
    assert parsed.problems == []
    connection = peer_connection(to_spec(parsed.config, parsed.secrets, find, DEFAULTS).peer, find, "/other")
    assert isinstance(connection, InstanceSettings)
    found = (connection.security_protocol, connection.sasl_mechanism, connection.user_name, connection.password.reveal())
    assert found == reached
    assert (connection.ca_file, connection.rack, connection.bootstrap_servers) == ("/etc/ca.pem", "r1", THERE.bootstrap_servers)


def test_an_instance_that_is_gone_from_the_settings_can_come_back() -> None:
    stored = config({"instance_id": "there", "bootstrap_servers": ...})
    with pytest.raises(ClusterUnreachable, match="instance there is not in the settings any more"):
        to_spec(stored, {}, lambda _: None, DEFAULTS)


def test_secrets_do_not_show() -> None:
    parsed = read(body({"user_name": "joe", "password": "CANARY"}))
    spec = to_spec(parsed.config, parsed.secrets, find, DEFAULTS)
    assert parsed.secrets == {"source_task.password": Secret("CANARY")}
    assert "CANARY" not in f"{parsed!r} {spec!r} {peer_connection(spec.peer, find, '')!r}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("instance_id", "bootstrap_servers", "user_name", "password", "direction", "task_num", "topics_mapping", "cluster_name")


@given(
    source=st.dictionaries(st.sampled_from(NAMES), JSON | st.sampled_from(["two-way", "there", "a:b", "h:1"]), max_size=6) | JSON,
    top=st.dictionaries(st.sampled_from(("topics", "topics_regex", "options", "sink_task")), JSON, max_size=4),
)
def test_parse_never_raises_and_what_it_accepts_makes_a_specification(source: object, top: dict[str, Any]) -> None:
    parsed = read({**top, "source_task": source})
    if not parsed.problems:
        to_spec(parsed.config, parsed.secrets, find, DEFAULTS)
