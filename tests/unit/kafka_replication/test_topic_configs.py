"""Which configurations go to the target, without a broker."""

from __future__ import annotations

from smartconnect.domain.kafka_replication_spec import Direction
from smartconnect.jobs.kafka_replication.topic_configs import (
    AFTER,
    BEFORE,
    DIFFERENCE,
    configs_of_new,
    differences,
    for_older_broker,
    has_mark,
    mark_of,
    named_in,
)
from smartconnect.kafka.admin import ConfigValue

ON_TOPIC, DYNAMIC_BROKER, STATIC_BROKER, DEFAULT = 1, 3, 4, 5
MARK = mark_of("a-task", Direction.PULL)


def config(value: str, source: int = ON_TOPIC, *, read_only: bool = False, sensitive: bool = False) -> ConfigValue:
    return ConfigValue(value, source, read_only, sensitive)


def test_new_topic_has_the_sources_settings_and_lets_everything_in() -> None:
    source = {
        "retention.ms": config("1000"),
        "segment.ms": config("7", DYNAMIC_BROKER),
        "cleanup.policy": config("delete", DEFAULT),
        "flush.ms": config("9", STATIC_BROKER),
        "odd": config("x", read_only=True),
        "secret": config("x", sensitive=True),
        "min.insync.replicas": config("2"),
        "compression.type": config("zstd"),
        "message.timestamp.type": config("LogAppendTime"),
        "remote.storage.enable": config("true"),
        "local.retention.ms": config("5"),
        "unclean.leader.election.enable": config("true"),
        "follower.replication.throttled.replicas": config("*"),
        "max.message.bytes": config("2000000"),
        BEFORE: config("5"),
    }
    assert configs_of_new(source, MARK) == {
        "retention.ms": "1000",
        "segment.ms": "7",
        "compression.type": "producer",
        "max.message.bytes": "2000000",
        BEFORE: MARK,
        AFTER: str(2**63 - 1),
    }


def test_small_max_message_bytes_of_the_source_is_raised_to_what_coalesced_batches_need() -> None:
    assert configs_of_new({"max.message.bytes": config("1000")}, MARK)["max.message.bytes"] == "524288"
    assert configs_of_new({}, MARK)["max.message.bytes"] == "524288"


def test_mark_tells_tasks_and_directions_apart_and_is_all_but_the_maximum() -> None:
    assert len({MARK, mark_of("a-task", Direction.PUSH), mark_of("b-task", Direction.PULL)}) == 3
    assert 2**63 - 2 - 2**32 < int(MARK) < 2**63 - 1
    assert has_mark({BEFORE: config(MARK)}, MARK) and has_mark({DIFFERENCE: config(MARK)}, MARK)
    assert not has_mark({BEFORE: config(MARK, STATIC_BROKER)}, MARK)
    assert not has_mark({BEFORE: config(mark_of("b-task", Direction.PULL))}, MARK)


def test_broker_that_lacks_our_settings_gets_the_older_one() -> None:
    new = configs_of_new({"retention.ms": config("1000")}, MARK)
    expected = {"retention.ms": "1000", "compression.type": "producer", "max.message.bytes": "524288", DIFFERENCE: MARK}
    assert for_older_broker(new, BEFORE) == for_older_broker(new, AFTER) == expected
    assert for_older_broker(new, "retention.ms") is None
    assert for_older_broker(expected, DIFFERENCE) is None


def test_differences_are_set_and_what_the_source_has_no_more_is_reset() -> None:
    source = {"retention.ms": config("2000"), "segment.ms": config("5"), "cleanup.policy": config("delete", DEFAULT)}
    target = {
        "retention.ms": config("1000"),
        "segment.ms": config("5", DEFAULT),
        "cleanup.policy": config("compact"),
        "flush.ms": config("3"),
        "min.insync.replicas": config("2"),
        BEFORE: config(MARK),
    }
    assert differences(source, target) == {"retention.ms": "2000", "cleanup.policy": None}


def test_max_message_bytes_only_grows() -> None:
    small, large = {"max.message.bytes": config("600000")}, {"max.message.bytes": config("900000")}
    assert differences(large, small) == {"max.message.bytes": "900000"}
    assert differences(small, large) == {}
    assert differences({"max.message.bytes": config("7")}, {"max.message.bytes": config("7")}) == {"max.message.bytes": "524288"}


def test_brokers_words_name_a_configuration() -> None:
    configs = {"retention.ms", "preallocate", "segment.bytes"}
    assert named_in("Unknown topic config name: segment.bytes", configs) == "segment.bytes"
    assert named_in("Invalid value 14 for configuration segment.bytes: Value must be at least 1048576", configs) == "segment.bytes"
    assert named_in("Altering 'preallocate' is disallowed.", configs) == "preallocate"
    assert named_in("retention.ms.", configs) == "retention.ms"
    assert named_in("local.retention.ms is too long", configs) is None
    assert named_in("", configs) is None
