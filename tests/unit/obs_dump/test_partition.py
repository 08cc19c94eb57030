"""What a partition knows of itself."""

from __future__ import annotations

from tests.unit.obs_dump.givens import a_partition


def test_a_partition_that_begins_in_a_new_topic_forgets_the_leader_epoch_of_the_old_one() -> None:
    partition = a_partition(100)
    partition.position_epoch = partition.leader_epoch = 7
    partition.position, partition.read, partition.leader_epoch = None, 0, -1  # begun again, not committed yet
    assert partition.forget_uncommitted() == []
    assert (partition.read, partition.leader_epoch) == (0, -1)
