"""A replication task through its whole life over the API: created, paused, resumed, modified, restarted, deleted (api.md §5, §6,
kafka-replication.md §11, §15.12)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.kafka_replication.stories import delete_records
from tests.support.metrics import gone, metrics
from tests.support.mirror import Side, assert_mirrored, eventually_mirrored
from tests.support.records import RecordWriter, read_topic
from tests.support.replication import Replication, create_replication
from tests.support.service import Refused, Service, ServiceOptions, running_service
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

POSITIONS = "__smartconnect_positions"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaCluster, peer_kafka: KafkaCluster) -> Iterator[Service]:
    options = ServiceOptions(kafka.bootstrap_servers, peer_servers=peer_kafka.bootstrap_servers)
    with shared(running_service(tmp_path_factory.mktemp("life"), options)) as service:
        yield service


async def written(server: KafkaCluster, topic: str, records: int = 300) -> RecordWriter:
    await create_topic(server.bootstrap_servers, topic, partitions=2)
    writer = RecordWriter(server.bootstrap_servers, topic, 2)
    await writer.write(records)
    return writer


async def test_pause_resume_and_modify_keep_the_place(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    first, second = names.topic("first"), names.topic("second")
    writer = await written(peer_kafka, first)
    await written(peer_kafka, second)
    task = await create_replication(service, "life-pause", topics=first)
    await task.caught_up()
    await task.act("pause")
    await task.shows("PAUSED")
    await writer.write(200)
    await task.act("resume")
    await task.caught_up(offsets=2 * 500)
    await assert_mirrored(Side(peer_kafka.bootstrap_servers, first), Side(kafka.bootstrap_servers, first))
    await task.modify(topics=f"{first},{second}", source_task={"task_num": 3})
    await task.caught_up(offsets=2 * 500 + 2 * 300)
    for topic in (first, second):
        await assert_mirrored(Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic))
    await task.delete()


async def test_a_gap_is_passed_once_it_is_on_record_and_stays_marked(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic("orders")
    writer = await written(peer_kafka, topic)
    task = await create_replication(service, "life-gap", topics=topic)
    await task.caught_up()
    await task.act("pause")
    await task.shows("PAUSED")
    await writer.write(200)
    await delete_records(peer_kafka.bootstrap_servers, topic, 400)
    await task.act("resume")
    for _ in range(2):
        progress = await task.caught_up(offsets=2 * 500)
        assert progress["counters"]["gaps"] == 1
        assert {row["partition"]: (row["gaps"], row["start_offset"]) for row in progress["partitions"]} == {0: (1, 0), 1: (0, 0)}
        told = [event["message"] for event in progress["events"] if event["code"] == "gap"]
        assert len(told) == 1 and "[300, 400)" in told[0]
        await task.act("pause")
        await task.shows("PAUSED")
        await task.act("resume")
    await task.delete()


async def test_more_and_fewer_units_while_records_come(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic("orders")
    writer = await written(peer_kafka, topic)
    task = await create_replication(service, "life-plans", topics=topic, task_num=2)
    for units in (3, 1, 2):
        await task.modify(source_task={"task_num": units})
        await writer.write(300)
    await task.caught_up(offsets=2 * 1200)
    await assert_mirrored(Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic))
    await task.delete()


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
async def test_metrics_tell_how_long_records_are_on_their_way(
    service: Service, peer_kafka: KafkaCluster, names: Names, delivery: str
) -> None:
    topic = names.topic("orders")
    await written(peer_kafka, topic)
    task = await create_replication(service, f"life-metrics-{delivery}", topics=topic, options={"delivery": delivery})
    await task.caught_up()

    async def shown() -> bool:
        values = await metrics(service, task.id)
        names = [f"smartconnect_replication_{what}_seconds" for what in ("latency", "transit", "commit", "ack")]
        counted = all(values[f"{name}_count",] >= 1 and 0 < values[f"{name}_sum",] < 600 for name in names)
        return counted and values["smartconnect_unit_counter_total", "records_out"] == 600

    await eventually(shown, 30, what="the times of a replication")
    await task.delete()
    await eventually(lambda: gone(service, task.id), 60, what="nothing is told of the deleted task")


async def test_a_restart_copies_again_and_another_name_needs_one(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic("orders")
    await written(peer_kafka, topic)
    task = await create_replication(service, "life-restart", topics=topic)
    await task.caught_up()
    with pytest.raises(Refused, match=r"DMS\.00400873"):
        await task.modify(source_task={"topics_mapping": f"{topic}:{topic}-copy"})
    await task.act("restart")

    async def twice() -> bool:
        records = await read_topic(kafka.bootstrap_servers, topic)
        return {partition: len(found) for partition, found in records.items()} == {0: 600, 1: 600}

    await eventually(twice, 60, what="everything was copied a second time", poll_s=0.2)
    await task.delete()


async def test_delete_leaves_topics_and_forgets_positions(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic = names.topic("orders")
    await written(peer_kafka, topic)
    task = await create_replication(service, "life-delete", topics=topic)
    await task.caught_up()
    assert await _positions_of(kafka, task)
    await task.delete()

    async def forgotten() -> bool:
        return not await _positions_of(kafka, task)

    await eventually(forgotten, 60, what="the positions are gone", poll_s=0.2)
    await assert_mirrored(Side(peer_kafka.bootstrap_servers, topic), Side(kafka.bootstrap_servers, topic))


async def test_push_with_a_mapping_and_another_codec(
    service: Service, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, renamed = names.topic("orders"), names.topic("copies")
    await written(kafka, topic)
    mapping = f"{topic}:{renamed}"
    task = await create_replication(
        service, "life-push", direction="push", topics_mapping=mapping, compression_type="zstd", provenance_header_enabled=True
    )
    await eventually_mirrored(
        Side(kafka.bootstrap_servers, topic), Side(peer_kafka.bootstrap_servers, renamed), ignored_headers=["__sc_provenance"]
    )
    progress = await task.caught_up()
    assert progress["counters"]["batches_rewritten"] > 0
    assert {row["target"] for row in progress["partitions"]} == {renamed}
    await task.delete()


async def _positions_of(server: KafkaCluster, task: Replication) -> set[bytes]:
    """Keys of the task that have a value."""
    live: dict[bytes, bool] = {}
    for records in (await read_topic(server.bootstrap_servers, POSITIONS)).values():
        for record in records:
            if record.key is not None and task.id.encode() in record.key:
                live[record.key] = record.value is not None
    return {key for key, has_value in live.items() if has_value}
