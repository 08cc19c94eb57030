"""Target partitions that lack replicas stay out of transactions (kafka-replication.md §6.4, "so that it cannot hold the unit").

A partition below `min.insync.replicas` takes no batch, which would concern it alone, but no marker either: a transaction that it was
added to cannot end, and the next one of the same transactional id cannot begin. So it rests from the look that shows it until one that
shows its replicas back. What happens between two looks cannot be prevented: then the unit waits, and says so (`guard.trouble`).
Called by the runner with each look."""

from __future__ import annotations

from typing import Final

from smartconnect.jobs.kafka_replication.gaps import Gaps
from smartconnect.jobs.kafka_replication.outbox import Outbox
from smartconnect.jobs.kafka_replication.partition import Partition
from smartconnect.jobs.kafka_replication.topic_view import Seen

TOO_FEW: Final = "target_lacks_replicas"


class WeakPartitions:
    """One incarnation's."""

    def __init__(self, outbox: Outbox, gaps: Gaps) -> None:
        self._outbox, self._gaps = outbox, gaps

    def look(self, partition: Partition, seen: Seen) -> None:
        """Let a partition rest, or go on."""
        lack = _lack(partition, seen)
        if lack is None:
            if partition.blocked is not None and partition.blocked.code == TOO_FEW:
                partition.blocked, partition.told = None, None
        elif partition.blocked is None and not (partition.lane.admitted and partition.flights):
            if self._outbox.withdraw(partition.lane):
                self._gaps.look_again(partition)
            self._gaps.block(partition, TOO_FEW, lack)


def _lack(partition: Partition, seen: Seen) -> str | None:
    target = partition.link.target
    pair, limits = seen.pairs.get(partition.tp.topic), seen.limits.get(target.topic)
    info = pair.target.partitions.get(target.partition) if pair is not None and pair.target is not None else None
    if info is None or limits is None or len(info.isr) >= limits.min_insync:
        return None
    return f"{target} on the target has {len(info.isr)} replicas in sync, fewer than its min.insync.replicas ({limits.min_insync})"
