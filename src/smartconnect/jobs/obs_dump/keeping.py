"""Brokers forget offsets and transactional ids that nobody renews (obs-dump.md §1, idle time): every position is committed again after six
hours, or a quarter of the broker's retention if that is shorter, spread over that time.
"""

from __future__ import annotations

import asyncio

from fastcrc import crc32

from smartconnect.domain.errors import Retryable
from smartconnect.jobs.obs_dump.committer import Committer
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.roster import Roster
from smartconnect.kafka.admin import Refused, Resource, ResourceKind, describe_configs
from smartconnect.kafka.cluster import Cluster

LONGEST_S = 6 * 3600.0
_UNKNOWN_RETENTION_MIN = 24 * 60
_LOOKS = 60


async def keep_alive_interval_s(cluster: Cluster) -> float:
    """How often a position must be committed on this cluster. A broker that does not tell its retention is taken to keep a day."""
    try:
        found = await cluster.metadata([])
        resource = Resource(ResourceKind.BROKER, str(next(iter(found.brokers))))
        configs = (await describe_configs(cluster, [resource]))[resource]
        told = None if isinstance(configs, Refused) else configs.get("offsets.retention.minutes")
        minutes = int(told.value) if told is not None and told.value else _UNKNOWN_RETENTION_MIN
    except (Retryable, ValueError):
        minutes = _UNKNOWN_RETENTION_MIN
    return min(LONGEST_S, minutes * 60 / 4)


class Keeper:
    """Asks the committer to commit again what nothing else moves."""

    def __init__(self, inc: Incarnation, roster: Roster, committer: Committer) -> None:
        self._inc, self._roster, self._committer = inc, roster, committer

    async def run(self) -> None:
        interval = await keep_alive_interval_s(self._inc.cluster)
        while True:
            await asyncio.sleep(interval / _LOOKS)
            now = self._inc.clock.monotonic()
            for partition in self._roster.partitions.values():
                if partition.position is not None and now - partition.committed_at >= self._due_after(partition, interval):
                    partition.recommit = True
                    self._committer.want(partition)

    @staticmethod
    def _due_after(partition: Partition, interval: float) -> float:
        """Between half and all of the interval, fixed for a partition: not everything at once."""
        return interval * (0.5 + crc32.iscsi(str(partition.tp).encode()) / 2**33)
