"""Who lets go of memory first, and when enough has been let go of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from smartconnect.jobs.memory_budget import MemoryBudget
from smartconnect.jobs.obs_dump.assembler import CutCause
from smartconnect.jobs.obs_dump.buffer import ObjectBuffer, PagedPool
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import OpenObject, Partition
from smartconnect.jobs.obs_dump.relief import Relief
from smartconnect.jobs.obs_dump.uploads import Leaving
from smartconnect.kafka.types import TopicPartition
from smartconnect.settings import ObsDumpSettings
from tests.support.dump_spec import a_spec

KIB = 1024


class Held:
    """A unit whose open objects hold so many KiB each, in a budget of 1000 KiB. What is let go of is on its way to the store."""

    def __init__(self, *kib: int, min_part_kib: int = 400) -> None:
        self.memory = MemoryBudget(1000 * KIB).join()
        self.pool = PagedPool(self.memory.charge, self.memory.credit)
        self.leaving = Leaving()
        self.partitions = [self._partition(number, size) for number, size in enumerate(kib)]
        self.sent: list[int] = []
        self.cut: list[int] = []
        settings = ObsDumpSettings(min_part_bytes=min_part_kib * KIB)
        incarnation = SimpleNamespace(
            spec=a_spec(),
            memory=self.memory,
            pool=self.pool,
            uploads=SimpleNamespace(leaving=self.leaving),
            resources=SimpleNamespace(directory=SimpleNamespace(obs_dump=lambda: settings)),
        )
        self.relief = Relief(cast(Incarnation, incarnation), lambda: self.partitions, stream=self._stream, seal=self._seal)

    def _partition(self, number: int, kib: int) -> Partition:
        partition = Partition(TopicPartition("orders", number), read=0, next_start=0)
        buffer = ObjectBuffer(self.pool)
        buffer.writer.write(b"x" * (kib * KIB))
        buffer.settle()
        partition.open = OpenObject(0, 0, 0.0, 0.0, buffer, 0, -1)
        return partition

    def _stream(self, partition: Partition, at_least: int) -> None:
        assert at_least == 1
        self._leave(partition)
        self.sent.append(partition.tp.partition)

    def _seal(self, partition: Partition, cause: CutCause) -> None:
        assert cause is CutCause.MEMORY
        self._leave(partition)
        self.cut.append(partition.tp.partition)
        partition.open = None

    def _leave(self, partition: Partition) -> None:
        assert partition.open is not None
        self.leaving.begin(sum(view.nbytes for view in partition.open.buffer.take().views))


async def test_nothing_leaves_while_there_is_room() -> None:
    held = Held(600)
    held.relief.early()
    assert not held.sent


async def test_from_seventy_percent_on_early_parts_leave_and_nothing_is_cut() -> None:
    held = Held(40, 550, 40, 40, 40, 40)
    held.relief.early()
    assert (held.sent, held.cut) == ([1], [])


async def test_from_eighty_five_percent_on_as_many_objects_are_cut_as_it_takes() -> None:
    held = Held(*[24] * 35, 40, 40)
    held.relief.early()
    assert not held.sent
    assert held.cut[:2] == [35, 36]
    assert 2 <= len(held.cut) <= 4


async def test_what_is_on_its_way_to_the_store_is_not_let_go_of_twice() -> None:
    held = Held(*[24] * 35, 40, 40)
    held.relief.early()
    before = len(held.cut)
    held.relief.early()
    assert len(held.cut) == before


async def test_who_must_not_end_an_object_now_is_passed_over() -> None:
    held = Held(40, 24)
    held.partitions[0].entry_limit = 0
    assert held.relief.one()
    assert held.cut == [1]
    assert not held.relief.one()
