"""Which configurations of a source topic go to its target, pure (kafka-replication.md §9). Called by `target_topics`, for topics that it
makes and for those that it keeps alike, and by `topic_limits`, for the mark.

**The mark.** That a topic was made by a task is written in the topic itself, in the one step that makes it, so that no crash can come
between: its `message.timestamp.before.max.ms` is the maximum less a number made from the task (2⁶³ − 1 less at most 2³² ms: still 292
million years, so the target accepts whatever the source has). Brokers before 3.6 have `message.timestamp.difference.max.ms` instead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from fastcrc import crc32

from smartconnect.domain.kafka_replication_spec import Direction
from smartconnect.kafka.admin import ConfigValue

MAX_MESSAGE_BYTES: Final = "max.message.bytes"
COMPRESSION_TYPE: Final = "compression.type"
BEFORE: Final = "message.timestamp.before.max.ms"
AFTER: Final = "message.timestamp.after.max.ms"
DIFFERENCE: Final = "message.timestamp.difference.max.ms"
LEAST_MESSAGE_BYTES: Final = 524_288

SET_ON_TOPIC: Final = 1
_STATIC_BROKER: Final = 4
_MAXIMUM: Final = 2**63 - 1
_NEVER: Final = frozenset(
    {
        "follower.replication.throttled.replicas",
        "leader.replication.throttled.replicas",
        DIFFERENCE,
        BEFORE,
        AFTER,
        "message.timestamp.type",
        "unclean.leader.election.enable",
        "min.insync.replicas",
        COMPRESSION_TYPE,
    }
)
_NEVER_PREFIXES: Final = ("remote.", "local.retention.")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")


def mark_of(task_id: str, direction: Direction) -> str:
    """The value by which topics that one direction of a task has made are known."""
    return str(_MAXIMUM - 1 - crc32.iscsi(f"{task_id}/{direction}".encode()))


def has_mark(configs: Mapping[str, ConfigValue], mark: str) -> bool:
    """Whether a topic with these configurations carries the mark."""
    found = (configs.get(name) for name in (BEFORE, DIFFERENCE))
    return any(value is not None and value.source == SET_ON_TOPIC and value.value == mark for value in found)


def configs_of_new(source: Mapping[str, ConfigValue], mark: str) -> dict[str, str]:
    """What a target topic is made with: the source's own settings, and what lets in every batch that the source accepted."""
    return copied(source) | {
        COMPRESSION_TYPE: "producer",
        MAX_MESSAGE_BYTES: str(_message_bytes(source)),
        BEFORE: mark,
        AFTER: str(_MAXIMUM),
    }


def for_older_broker(configs: Mapping[str, str], unknown: str) -> dict[str, str] | None:
    """The same for a broker that does not know `unknown`, where that is one of ours; None where it is the source's."""
    if unknown not in (BEFORE, AFTER):
        return None
    others = {name: value for name, value in configs.items() if name not in (BEFORE, AFTER)}
    return others | {DIFFERENCE: configs[BEFORE]}


def copied(source: Mapping[str, ConfigValue]) -> dict[str, str]:
    """The source's settings that differ from its defaults, but for `max.message.bytes` and what is never copied."""
    return {
        name: found.value
        for name, found in source.items()
        if found.value is not None and _is_copied(name) and not (found.is_default or found.source == _STATIC_BROKER)
        if not (found.read_only or found.sensitive)
    }


def differences(source: Mapping[str, ConfigValue], target: Mapping[str, ConfigValue]) -> dict[str, str | None]:
    """What makes the target like the source: values to set, None: back to the target's default.

    What the source does not know is left alone. `max.message.bytes` only grows: the source may still hold batches of its larger days."""
    wanted = copied(source)
    changes: dict[str, str | None] = {
        name: value for name, value in wanted.items() if name not in target or target[name].value != value
    }
    for name, found in target.items():
        if found.source == SET_ON_TOPIC and _is_copied(name) and name in source and name not in wanted:
            changes[name] = None
    if MAX_MESSAGE_BYTES in target and _message_bytes(target, least=0) < _message_bytes(source):
        changes[MAX_MESSAGE_BYTES] = str(_message_bytes(source))
    return changes


def named_in(words: str, configs: Collection[str]) -> str | None:
    """The configuration that a broker's refusal names."""
    return next((name for name in _NAME.findall(words) if name in configs), None)


def _is_copied(name: str) -> bool:
    return name not in _NEVER and name != MAX_MESSAGE_BYTES and not name.startswith(_NEVER_PREFIXES)


def _message_bytes(configs: Mapping[str, ConfigValue], least: int = LEAST_MESSAGE_BYTES) -> int:
    found = configs.get(MAX_MESSAGE_BYTES)
    return least if found is None or found.value is None else max(least, int(found.value))
