"""What a partition knows of itself."""

from __future__ import annotations

from smartconnect.jobs.obs_dump.entries import Entry
from smartconnect.jobs.obs_dump.partition import Partition, PendingEntry
from tests.unit.obs_dump.givens import ORDERS_3, a_partition


def test_a_partition_that_begins_in_a_new_topic_forgets_the_leader_epoch_of_the_old_one() -> None:
    partition = a_partition(100)
    partition.position_epoch = partition.leader_epoch = 7
    partition.position, partition.read, partition.leader_epoch = None, 0, -1  # begun again, not committed yet
    assert partition.forget_uncommitted() == []
    assert (partition.read, partition.leader_epoch) == (0, -1)


def test_a_partition_whose_start_is_not_committed_holds_no_drain() -> None:
    """Its next owner begins where we would have."""
    partition = Partition(ORDERS_3, read=40, next_start=40)
    assert partition.settled
    partition.pending.append(PendingEntry(Entry("lake", "k", "u", 1, 10, 0, 40), run=1))
    assert not partition.settled


def test_a_partition_that_forgets_what_is_not_committed_reads_on_from_its_position() -> None:
    partition = a_partition(100)
    partition.position, partition.position_start, partition.position_epoch = 40, 30, 7
    partition.read, partition.next_start, partition.leader_epoch = 100, 90, 8
    assert partition.forget_uncommitted() == []
    assert (partition.read, partition.next_start, partition.leader_epoch) == (40, 30, 7)
