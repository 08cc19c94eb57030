"""When what rests is tried again, and what else keeps it from going on."""

from __future__ import annotations

from smartconnect.domain.task import Reason
from smartconnect.jobs.kafka_replication import rests
from smartconnect.jobs.kafka_replication.partition import Lane, Partition
from smartconnect.jobs.kafka_replication.topic_view import Link
from smartconnect.kafka.types import TopicPartition

TP = TopicPartition("orders", 0)
REFUSED = Reason("permission_missing", "grant READ", since=0)


def resting(soon: bool = False) -> Partition:
    """From moment 0 on."""
    partition = Partition(Link(TP, TP, None, None), Lane(TP), read=10, acked=10, blocked=REFUSED)
    rests.begin(partition, 0.0, soon=soon)
    return partition


def tried(partition: Partition) -> float:
    """In vain, as soon as it may be; gives how long it has rested."""
    assert partition.retry_at is not None
    now = partition.retry_at
    rests.end(partition, now, None)
    assert partition.wants_fetch and partition.retry_at is None
    partition.blocked = REFUSED
    rests.begin(partition, 0.0, soon=False)
    return now


def test_each_try_in_vain_makes_the_rest_twice_as_long_up_to_five_minutes() -> None:
    partition = resting()
    assert [tried(partition) for _ in range(6)] == [30, 60, 120, 240, 300, 300]
    assert resting(soon=True).retry_at == 2


def test_it_rests_until_it_is_time() -> None:
    partition = resting()
    rests.end(partition, 29.9, None)
    assert (partition.blocked, partition.retry_at) == (REFUSED, 30)


def test_what_blocks_the_topic_goes_on_blocking_what_has_rested() -> None:
    partition, trouble = resting(), Reason("permission_missing", "of the topic", since=0)
    rests.end(partition, 30.0, trouble)
    assert (partition.blocked, partition.retry_at, partition.wants_fetch) == (trouble, None, False)


def test_what_stands_still_for_good_is_not_tried_again() -> None:
    partition = resting()
    partition.retry_at = None
    rests.end(partition, 1000.0, None)
    assert partition.blocked is REFUSED
