"""Consumer groups as storage of positions: read all offsets, commit plainly (for tools), list, describe, delete.

Positions of a unit are committed by `transactions`, not here; nobody of ours joins a group."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from smartconnect.kafka import messages
from smartconnect.kafka.cluster import GROUP, Cluster
from smartconnect.kafka.codes import COORDINATOR_MOVED, TRANSIENT, KafkaCode, failure
from smartconnect.kafka.errors import refusal
from smartconnect.kafka.offsets import by_topic
from smartconnect.kafka.timing import TryAgain
from smartconnect.kafka.types import TopicPartition


@dataclass(frozen=True, slots=True)
class Committed:
    """A group's offset of a partition. `leader_epoch` is −1 where none was committed; `metadata` is the user's text."""

    offset: int
    leader_epoch: int
    metadata: str


@dataclass(frozen=True, slots=True)
class GroupOffsets:
    """`unstable`: an open transaction holds an offset of these partitions; ask again until it is decided (KIP-447)."""

    committed: Mapping[TopicPartition, Committed]
    unstable: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True)
class OffsetCommit:
    """What to commit for a partition; `leader_epoch` is that of the last batch read, −1 if unknown."""

    offset: int
    leader_epoch: int = -1
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """`state` as brokers name it: Empty, Stable, Dead, … `members` counts consumers. `operations`: our ACL rights."""

    group: str
    state: str
    protocol_type: str
    members: int
    operations: frozenset[str] | None
    error: KafkaCode | None = None


async def fetch_offsets(
    cluster: Cluster, group: str, *, require_stable: bool, partitions: Collection[TopicPartition] = ()
) -> GroupOffsets:
    """All offsets of a group. With `require_stable` an offset that an undecided transaction may change is not answered
    but named in `unstable`: without it a position from before a decided commit could be read.

    Name in `partitions` those that matter: asked for *all* offsets, brokers (3.9 and 4.3.1) say nothing about a partition
    whose first offset ever is still undecided, as if it had none. Named ones missing from that answer are asked for singly."""
    found = await cluster.persist(lambda: _ask(cluster, group, require_stable, None))
    missing = [tp for tp in partitions if tp not in found.committed and tp not in found.unstable]
    if not missing:
        return found
    named = await cluster.persist(lambda: _ask(cluster, group, require_stable, missing))
    return GroupOffsets({**found.committed, **named.committed}, found.unstable | named.unstable)


async def _ask(cluster: Cluster, group: str, require_stable: bool, partitions: Collection[TopicPartition] | None) -> GroupOffsets:
    topics: list[dict[str, object]] | None = None
    if partitions is not None:
        by_name = by_topic(dict.fromkeys(partitions))
        topics = [{"name": topic, "partition_indexes": [tp.partition for tp in members]} for topic, members in by_name]
    connection = await cluster.coordinator(GROUP, group)
    many = connection.version(messages.OFFSET_FETCH) >= 8
    fields: dict[str, object] = {"require_stable": require_stable}
    fields |= {"groups": [{"group_id": group, "topics": topics}]} if many else {"group_id": group, "topics": topics}
    answer = await cluster.call_coordinator(GROUP, group, messages.OFFSET_FETCH, fields)
    return offsets_in(cluster, group, answer.groups[0] if many else answer)


def offsets_in(cluster: Cluster, group: str, answer: Any) -> GroupOffsets:
    """What an answer to OffsetFetch says of one group. TryAgain, or what the broker refuses."""
    check_group(cluster, group, failure(answer.error_code), f"read the offsets of group {group!r}")
    committed: dict[TopicPartition, Committed] = {}
    unstable = set()
    for topic in answer.topics:
        for p in topic.partitions:
            tp = TopicPartition(topic.name, p.partition_index)
            code = failure(p.error_code)
            if code is KafkaCode.UNSTABLE_OFFSET_COMMIT:
                unstable.add(tp)
                continue
            check_group(cluster, group, code, f"read the offset of {tp} in group {group!r}")
            if p.committed_offset >= 0:
                committed[tp] = Committed(p.committed_offset, p.committed_leader_epoch, p.metadata or "")
    return GroupOffsets(committed, frozenset(unstable))


def check_group(cluster: Cluster, group: str, code: KafkaCode | None, doing: str) -> None:
    """Turn a group coordinator's code into TryAgain (it has moved, or is busy) or an error for the user."""
    if code is None:
        return
    if code in COORDINATOR_MOVED:
        cluster.forget_coordinator(GROUP, group)
        raise TryAgain(doing, code)
    if code in TRANSIENT:
        raise TryAgain(doing, code)
    raise refusal(doing, code)


async def commit_offsets(cluster: Cluster, group: str, offsets: Mapping[TopicPartition, OffsetCommit]) -> None:
    """Commit outside any transaction, as a tool without membership. Refused by the broker while consumers are active."""

    async def attempt() -> None:
        fields = {
            "group_id": group,
            "generation_id_or_member_epoch": -1,
            "member_id": "",
            "group_instance_id": None,
            "topics": [
                {"name": topic, "partitions": [commit_fields(tp, offsets[tp]) for tp in members]}
                for topic, members in by_topic(offsets)
            ],
        }
        answer = await cluster.call_coordinator(GROUP, group, messages.OFFSET_COMMIT, fields)
        for topic in answer.topics:
            for p in topic.partitions:
                tp = TopicPartition(topic.name, p.partition_index)
                check_group(cluster, group, failure(p.error_code), f"commit the offset of {tp} in group {group!r}")

    await cluster.persist(attempt)


def commit_fields(tp: TopicPartition, commit: OffsetCommit) -> dict[str, object]:
    """One partition of OffsetCommit or TxnOffsetCommit."""
    return {
        "partition_index": tp.partition,
        "committed_offset": commit.offset,
        "committed_leader_epoch": commit.leader_epoch,
        "committed_metadata": commit.metadata,
    }


async def delete_groups(cluster: Cluster, groups: Collection[str]) -> None:
    """Delete groups and their offsets. A group that does not exist counts as deleted; one with consumers is refused."""
    for group in groups:
        await _delete_group(cluster, group)


async def _delete_group(cluster: Cluster, group: str) -> None:
    async def attempt() -> None:
        answer = await cluster.call_coordinator(GROUP, group, messages.DELETE_GROUPS, {"groups_names": [group]})
        code = failure(answer.results[0].error_code)
        if code is not KafkaCode.GROUP_ID_NOT_FOUND:
            check_group(cluster, group, code, f"delete group {group!r}")

    await cluster.persist(attempt)


async def describe_group(cluster: Cluster, group: str) -> GroupDescription:
    """State and size of a group; one that does not exist is described as Dead."""

    async def attempt() -> GroupDescription:
        fields = {"groups": [group], "include_authorized_operations": True}
        answer = await cluster.call_coordinator(GROUP, group, messages.DESCRIBE_GROUPS, fields)
        found = answer.groups[0]
        code = failure(found.error_code)
        if code is KafkaCode.GROUP_ID_NOT_FOUND:
            return GroupDescription(group, "Dead", "", 0, None)
        check_group(cluster, group, code, f"describe group {group!r}")
        operations = messages.operation_names(found.authorized_operations)
        return GroupDescription(group, found.group_state, found.protocol_type, len(found.members), operations)

    return await cluster.persist(attempt)


async def list_groups(cluster: Cluster) -> dict[str, str]:
    """Every group of the cluster that we may see → its state ("" from brokers that do not tell). Asks all brokers."""
    found: dict[str, str] = {}
    metadata = await cluster.metadata([])
    for node_id in metadata.brokers:
        found |= await cluster.persist(partial(_groups_of, cluster, node_id))
    return found


async def _groups_of(cluster: Cluster, node_id: int) -> dict[str, str]:
    answer = await (await cluster.connection(node_id)).call(messages.LIST_GROUPS, {})
    code = failure(answer.error_code)
    if code in COORDINATOR_MOVED:
        raise TryAgain("list consumer groups", code)
    if code is not None:
        raise refusal("list consumer groups", code)
    return {group.group_id: group.group_state or "" for group in answer.groups}
