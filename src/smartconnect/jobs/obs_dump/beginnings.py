"""Partitions whose topic was made again begin at the earliest record of the new one, as soon as their leader tells which that is
(obs-dump.md §4 F5). Until then nothing of them is fetched or committed, and all others go on."""

from __future__ import annotations

from collections.abc import Callable

from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.roster import Roster
from smartconnect.jobs.obs_dump.untold import Untold


class Beginnings:
    """One incarnation's. `begin` is given a partition and the offset of the earliest record."""

    def __init__(self, inc: Incarnation, roster: Roster, begin: Callable[[Partition, int], None]) -> None:
        self._roster, self._begin = roster, begin
        self._untold = Untold(inc.spec.options.refresh_interval_s, self.look)

    def add(self, partition: Partition) -> None:
        """Its topic was made again; nothing of the old one is on its way."""
        partition.gone, partition.start_unknown = False, True
        self._untold.add([partition])

    async def look(self) -> None:
        """Ask the leaders, and begin what they tell of."""
        asked = {partition: partition.remade_as for partition in self._untold.partitions if not partition.gone}
        found = await self._roster.earliest([partition.tp for partition in asked])
        for partition, topic_id in asked.items():
            offset = found.get(partition.tp)
            if offset is not None and partition.remade_as == topic_id and not partition.gone:
                self._untold.partitions.discard(partition)
                partition.start_unknown = False
                self._begin(partition, offset)

    async def run(self) -> None:
        """For the incarnation's whole life: whose leader is away is asked again."""
        await self._untold.run()
