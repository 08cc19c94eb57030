"""Our Metadata codec understands what kafka-python's generated classes say; broken bytes end in MalformedData, in time and memory bounded
by their own length."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol.metadata import MetadataResponse

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka import messages
from smartconnect.kafka.codes import failure
from smartconnect.kafka.metadata_codec import TOPIC_IDS_FROM, decode_metadata
from smartconnect.kafka.types import Broker, ClusterMetadata, PartitionInfo, TopicInfo

VERSIONS = range(messages.METADATA.lowest, messages.METADATA.highest + 1)
BrokerPart = MetadataResponse.MetadataResponseBroker
TopicPart = MetadataResponse.MetadataResponseTopic
PartitionPart = TopicPart.MetadataResponsePartition

names = st.text("abcXYZ019._-", min_size=1, max_size=20)
codes = st.sampled_from([0, 0, 0, 3, 5, 9, 29, 72])
nodes = st.lists(st.integers(0, 4), max_size=4)
partitions = st.tuples(codes, st.integers(-1, 3), st.integers(-1, 2), nodes, nodes, nodes)
operations = st.none() | st.sets(st.integers(2, 14))
topics = st.tuples(codes, st.uuids() | st.just(UUID(int=0)), st.booleans(), st.lists(partitions, max_size=12), operations)
brokers = st.tuples(names, st.integers(1, 65535), st.none() | names)


class Drawn:
    """An answer as the generated classes write it, and what we should make of it."""

    def __init__(self, version: int, data: Any) -> None:
        by_id: dict[int, Any] = data.draw(st.dictionaries(st.integers(0, 9), brokers, max_size=3))
        by_name: dict[str, Any] = data.draw(st.dictionaries(names, topics, max_size=4))
        cluster_id, controller = data.draw(st.none() | names), data.draw(st.integers(-1, 9))
        answer = MetadataResponse(
            throttle_time_ms=7,
            brokers=[BrokerPart(node_id=i, host=h, port=p, rack=r) for i, (h, p, r) in by_id.items()],
            cluster_id=cluster_id,
            controller_id=controller,
            topics=[_topic_part(name, topic) for name, topic in by_name.items()],
        )
        self.raw: bytes = answer.encode(version=version)
        self.meant = ClusterMetadata(
            {i: Broker(i, *broker) for i, broker in by_id.items()},
            cluster_id or "",
            controller,
            {name: _topic_info(version, name, topic) for name, topic in by_name.items()},
        )


def _topic_part(name: str, topic: Any) -> Any:
    error, topic_id, internal, drawn, allowed = topic
    return TopicPart(
        error_code=error,
        name=name,
        topic_id=topic_id,
        is_internal=internal,
        partitions=[
            PartitionPart(
                error_code=code,
                partition_index=number,
                leader_id=leader,
                leader_epoch=epoch,
                replica_nodes=replicas,
                isr_nodes=isr,
                offline_replicas=offline,
            )
            for number, (code, leader, epoch, replicas, isr, offline) in enumerate(drawn)
        ],
        authorized_operations=allowed,
    )


def _topic_info(version: int, name: str, topic: Any) -> TopicInfo:
    error, topic_id, internal, drawn, allowed = topic
    known = topic_id if version >= TOPIC_IDS_FROM and topic_id.int else None
    found = {
        number: PartitionInfo(leader, epoch, tuple(replicas), tuple(isr), failure(code))
        for number, (code, leader, epoch, replicas, isr, _) in enumerate(drawn)
    }
    return TopicInfo(name, known, found, failure(error), internal, messages.operation_names(allowed))


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=40)
def test_answers_of_the_generated_classes_are_understood(version: int, data: Any) -> None:
    drawn = Drawn(version, data)
    assert decode_metadata(version, memoryview(drawn.raw)) == drawn.meant


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=60)
def test_damaged_answers_end_in_malformed_data(version: int, data: Any) -> None:
    raw = bytearray(Drawn(version, data).raw)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    with contextlib.suppress(MalformedData):
        decode_metadata(version, memoryview(raw)[:cut])


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=40)
def test_answers_that_are_cut_off_end_in_malformed_data(version: int, data: Any) -> None:
    raw = Drawn(version, data).raw
    behind = len(raw) - 4 if version in (8, 9, 10) else len(raw)  # the operations on the cluster, which nobody reads
    with pytest.raises(MalformedData):
        decode_metadata(version, memoryview(raw)[: data.draw(st.integers(0, behind - 3))])


@pytest.mark.parametrize("version", VERSIONS)
@given(raw=st.binary(max_size=200))
def test_random_bytes_end_in_malformed_data(version: int, raw: bytes) -> None:
    with contextlib.suppress(MalformedData):
        decode_metadata(version, memoryview(raw))


@pytest.mark.parametrize(("version", "count"), [(8, b"\x7f\xff\xff\xff"), (12, b"\xff\xff\xff\xff\x0f")])
def test_enormous_counts_cost_no_memory(version: int, count: bytes) -> None:
    raw = memoryview(b"\0" * 4 + count + b"\0" * 100)
    tracemalloc.start()
    with pytest.raises(MalformedData):
        decode_metadata(version, raw)
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_partitions_that_say_the_same_are_one_object() -> None:
    alike = [(0, 1, 0, [1, 2], [1, 2], [])] * 3
    raw = MetadataResponse(topics=[_topic_part(name, (0, UUID(int=5), False, alike, None)) for name in "ab"]).encode(version=12)
    found = decode_metadata(12, memoryview(raw)).topics
    assert len({id(info) for topic in found.values() for info in topic.partitions.values()}) == 1
