"""Letting go of memory early (obs-dump.md §9): parts before they are full, then objects before their time, largest buffer first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from smartconnect.jobs.memory_budget import EARLY_CUTS_AT, EARLY_PARTS_AT
from smartconnect.jobs.obs_dump.assembler import CutCause
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition


class Relief:
    """`partitions` of the unit; `stream` and `seal` send what an open object has as a part, or end it."""

    def __init__(
        self,
        inc: Incarnation,
        partitions: Callable[[], Iterable[Partition]],
        *,
        stream: Callable[[Partition, int], None],
        seal: Callable[[Partition, CutCause], None],
    ) -> None:
        self._inc, self._partitions, self._stream, self._seal = inc, partitions, stream, seal
        settings = inc.resources.directory.obs_dump()
        self._most_leaving = min((settings.parts_in_flight + 2) * inc.spec.part_size, (settings.memory_mb << 20) // 4)

    def crowded(self) -> bool:
        """Every place for uploads is taken and the next part waits: memory comes back without our doing."""
        return self._inc.uploads.leaving.nbytes >= self._most_leaving

    def full(self) -> bool:
        """What one frame needs beyond the budget may always be decoded, piece by piece."""
        return self._inc.memory.pressure() >= 1 and self._inc.pool.out_bytes > 0

    def early(self) -> None:
        """As much as is too much: what is on its way to the store already counts as gone."""
        memory = self._inc.memory
        if memory.at_ease or memory.pressure() < EARLY_PARTS_AT:
            return
        for partition in self._largest_first():
            pressure = self._pressure_soon()
            cut = pressure >= EARLY_CUTS_AT and not self.crowded()
            if pressure < EARLY_PARTS_AT:
                return
            if not self._let_go(partition, cut=cut) and not cut:  # nor would a smaller one
                return

    def one(self) -> bool:
        """The largest that can leave; False: nothing can leave now."""
        cut = not self.crowded()
        return any(self._let_go(partition, cut=cut) for partition in self._largest_first())

    def _let_go(self, partition: Partition, *, cut: bool) -> bool:
        """Send an early part; `cut`: end an object that is too small for that."""
        assert partition.open is not None
        if partition.open.buffer.length >= self._inc.resources.directory.obs_dump().min_part_bytes:
            self._stream(partition, 1)
            return True
        if cut and partition.may_seal:
            self._seal(partition, CutCause.MEMORY)
            return True
        return False

    def _largest_first(self) -> list[Partition]:
        sized = [(p.open.buffer.length, p) for p in self._partitions() if p.open is not None and p.open.buffer.length]
        sized.sort(key=lambda found: found[0], reverse=True)
        return [partition for _, partition in sized]

    def _pressure_soon(self) -> float:
        memory, leaving = self._inc.memory, self._inc.uploads.leaving.nbytes
        return memory.pressure() * max(0, memory.used - leaving) / max(1, memory.used)
