"""What a unit knows and tells of its partitions while topics come and go, and what the next owner hears of that (obs-dump.md §4 F3, F5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from smartconnect.domain.obs_dump_spec import ObsDumpOptions
from smartconnect.domain.policies import OnGap
from smartconnect.domain.task import Kind
from smartconnect.engine.unit import ReportedPosition
from smartconnect.jobs.obs_dump import meter as meter_module
from smartconnect.jobs.obs_dump import roster as roster_module
from smartconnect.jobs.obs_dump.entries import NOTHING
from smartconnect.jobs.obs_dump.gaps import Gaps
from smartconnect.jobs.obs_dump.incarnation import ReadPosition
from smartconnect.jobs.obs_dump.meter import Meter
from smartconnect.jobs.obs_dump.partition import Partition
from smartconnect.jobs.obs_dump.roster import Known, Roster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.groups import Committed, GroupOffsets
from smartconnect.kafka.offsets import EARLIEST, ListedOffset
from smartconnect.kafka.types import TopicPartition
from tests.support.dump_spec import a_spec
from tests.support.replication_unit import MemoryLedger
from tests.unit.obs_dump.givens import HandClock

OLD, NEW = UUID(int=1), UUID(int=2)
FIRST, SECOND = TopicPartition("orders", 0), TopicPartition("orders", 1)
END = 500


class Bench:
    """A unit of two partitions of "orders": what the group holds, what was reported, which topic there is now."""

    def __init__(self, reported: Mapping[TopicPartition, ReportedPosition], on_gap: OnGap = OnGap.CONTINUE) -> None:
        self.ledger = MemoryLedger(reported=cast(Any, reported))
        self.topics: dict[TopicPartition, UUID | None] = {FIRST: OLD, SECOND: OLD}
        clock = HandClock().clock()
        self.inc: Any = SimpleNamespace(
            context=SimpleNamespace(ledger=self.ledger, task=SimpleNamespace(run=1, id="t", kind=Kind.OBS_DUMP), unit="dump-1-0"),
            clock=clock,
            spec=a_spec(topics=("orders",), options=ObsDumpOptions(on_gap=on_gap)),
            group="smartconnect.t.r1",
            cluster=None,
            selected=self._selected,
            hidden=frozenset(),
            is_ours=lambda tp: True,
            counters=Counter(),
            calls=SimpleNamespace(retries=0, reason=lambda: None),
        )
        self.meter = Meter(self.inc.context, self.inc.spec, clock)
        self.ledger.shown = self.meter.progress

    async def _selected(self, max_age_s: float) -> Mapping[TopicPartition, UUID | None]:
        return self.topics

    async def begin(self, positions: Mapping[TopicPartition, int], *, marked: bool = True) -> Roster:
        """A new incarnation, before its first look."""
        read = {tp: ReadPosition(offset, 3, NOTHING, marked) for tp, offset in positions.items()}
        starts = self.ledger.starts_of
        roster = Roster(self.inc, Known(read, starts, self.ledger.reported), cast(Any, None))
        await self.meter.begin(roster, cast(Any, SimpleNamespace(tally=SimpleNamespace(**_NO_TALLY))), self.inc)
        return roster

    def tell_gone(self, roster: Roster, partition: Partition) -> None:
        """As the loop does, in its own time."""
        sealer: Any = SimpleNamespace(rewind=lambda _: None)
        unused = cast(Any, None)
        Gaps(self.inc, roster, unused, unused, unused, sealer, lambda _: None).topic_gone(partition)

    async def report(self) -> dict[tuple[str, int], ReportedPosition]:
        await self.ledger.report()
        return dict(self.ledger.reported)


_Listed = dict[TopicPartition, ListedOffset]


async def leaderless(_: object, wanted: Mapping[TopicPartition, int], __: object, *, patient: bool) -> _Listed:
    return {tp: ListedOffset(-1, -1, KafkaCode.LEADER_NOT_AVAILABLE) for tp in wanted}


_NO_TALLY = {"records": 0, "bytes_in": 0, "null_values": 0, "delimiters_in_data": 0}


@pytest.fixture(autouse=True)
def _a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed(_: object, wanted: Mapping[TopicPartition, int], __: object, *, patient: bool) -> _Listed:
        return {tp: ListedOffset(0 if at == EARLIEST else END, -1) for tp, at in wanted.items()}

    monkeypatch.setattr(roster_module, "list_offsets", listed)
    monkeypatch.setattr(meter_module, "list_offsets", listed)


def reported_of(offset: int | None, topic_id: UUID = OLD, gaps: int = 0) -> ReportedPosition:
    return ReportedPosition(offset, str(topic_id), gaps=gaps, marked=True)


async def test_nothing_is_told_of_partitions_before_they_were_compared_with_what_was_reported() -> None:
    """The next owner would take our word: the position that somebody set back for ours, the one that is gone for never there."""
    bench = Bench({FIRST: reported_of(100), SECOND: reported_of(200)})
    roster = await bench.begin({FIRST: 40})
    assert list(bench.meter.progress().partitions) == []
    await roster.look(0)
    assert [partition.blocked.code for partition in roster.partitions.values() if partition.blocked] == [
        "foreign_position",
        "position_gone",
    ]
    assert {key: last.offset for key, last in (await bench.report()).items()} == {FIRST: 100, SECOND: 200}


@pytest.mark.parametrize("now", [OLD, NEW], ids=["the same topic", "made again"])
async def test_what_was_reported_outlives_a_start_while_the_partition_has_no_leader(
    now: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster_module, "list_offsets", leaderless)
    bench = Bench({FIRST: reported_of(100)})
    bench.topics = {FIRST: now, SECOND: now}
    roster = await bench.begin({})
    changes = await roster.look(0)
    assert [partition.tp for partition in (*changes.added, *changes.recreated)] == [FIRST]
    assert (roster.partitions[FIRST].blocked is None) is (now is NEW)
    assert {key: (last.offset, last.topic_id) for key, last in (await bench.report()).items()} == {FIRST: (100, str(OLD))}


async def test_a_topic_that_is_gone_is_not_forgotten_before_that_is_told() -> None:
    bench = Bench({FIRST: reported_of(100), SECOND: reported_of(200)})
    roster = await bench.begin({FIRST: 100, SECOND: 200})
    await roster.look(0)
    bench.topics = {}
    changes = await roster.look(0)
    assert len(changes.gone) == 2
    assert {key: (last.offset, last.gaps) for key, last in (await bench.report()).items()} == {FIRST: (100, 0), SECOND: (200, 0)}

    assert not (await roster.look(0)).gone
    for partition in changes.gone:
        bench.tell_gone(roster, partition)
    assert {key: (last.offset, last.gaps) for key, last in (await bench.report()).items()} == {FIRST: (None, 1), SECOND: (None, 1)}
    assert bench.ledger.codes == ["topic_deleted"] * 2


async def test_a_topic_that_is_back_before_its_end_was_told_goes_on() -> None:
    bench = Bench({FIRST: reported_of(100), SECOND: reported_of(200)})
    roster = await bench.begin({FIRST: 100, SECOND: 200})
    await roster.look(0)
    there, bench.topics = bench.topics, {}
    await roster.look(0)
    bench.topics = there
    assert len((await roster.look(0)).added) == 2
    assert all(partition.wants_fetch for partition in roster.partitions.values())


async def test_a_topic_made_again_after_its_end_was_told_is_news_once() -> None:
    bench = Bench({FIRST: reported_of(100), SECOND: reported_of(200)}, OnGap.STOP)
    roster = await bench.begin({FIRST: 100, SECOND: 200})
    await roster.look(0)
    bench.topics = {}
    for partition in (await roster.look(0)).gone:
        bench.tell_gone(roster, partition)
    bench.topics = {FIRST: NEW, SECOND: NEW}
    assert [len((await roster.look(0)).recreated) for _ in range(3)] == [2, 0, 0]


@pytest.mark.parametrize("held", [True, False])
async def test_without_topic_ids_a_topic_is_another_one_only_if_kafka_forgot_the_position(
    held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that has just started may not know it for a moment: that is no reason to dump everything again."""
    group = {tp: Committed(offset, 3, "") for tp, offset in ((FIRST, 100), (SECOND, 200)) if held}

    async def fetched(*_: object, partitions: Collection[TopicPartition], **__: object) -> GroupOffsets:
        return GroupOffsets({tp: group[tp] for tp in partitions if tp in group}, frozenset())

    monkeypatch.setattr(roster_module, "fetch_offsets", fetched)
    bench = Bench({})
    there = bench.topics = {FIRST: None, SECOND: None}
    roster = await bench.begin({FIRST: 100, SECOND: 200})
    await roster.look(0)
    bench.topics = {}
    for partition in (await roster.look(0)).gone:
        bench.tell_gone(roster, partition)
    bench.topics = there
    changes = await roster.look(0)
    assert (len(changes.added), len(changes.recreated)) == ((2, 0) if held else (0, 2))
    assert all(partition.wants_fetch is held for partition in roster.partitions.values())


async def test_a_topic_made_again_is_known_as_that_until_its_gap_is_told() -> None:
    """Kafka forgot the positions with their topic: what was reported is all that the next owner has."""
    bench = Bench({FIRST: reported_of(100), SECOND: reported_of(None, gaps=1)})
    bench.ledger.starts_of = {FIRST: 90, SECOND: 90}
    bench.topics = {FIRST: NEW, SECOND: NEW}
    for _ in range(2):
        roster = await bench.begin({})
        assert len((await roster.look(0)).recreated) == 2
        assert [partition.read for partition in roster.partitions.values()] == [0, 0]
        found = await bench.report()
        assert {key: (last.offset, last.topic_id) for key, last in found.items()} == {
            FIRST: (100, str(OLD)),
            SECOND: (None, str(OLD)),
        }


@pytest.mark.parametrize("end", [END, 60], ids=["set back", "the log was cut"])
async def test_who_set_a_position_back_is_not_decided_before_the_leader_tells_where_the_log_ends(
    end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench({FIRST: reported_of(100)})
    roster = await bench.begin({FIRST: 60})
    listed = roster_module.list_offsets
    monkeypatch.setattr(roster_module, "list_offsets", leaderless)
    assert [partition.tp for partition in (await roster.look(0)).added] == []
    assert bench.ledger.codes == [] and not roster.partitions[FIRST].wants_fetch
    assert (await bench.report())[FIRST].offset == 60

    async def ends(_: object, wanted: Mapping[TopicPartition, int], isolation: Any, *, patient: bool) -> _Listed:
        found = await listed(cast(Any, None), wanted, isolation, patient=patient)
        return {tp: ListedOffset(0 if wanted[tp] == EARLIEST else end, -1) for tp in found}

    monkeypatch.setattr(roster_module, "list_offsets", ends)
    assert FIRST in [partition.tp for partition in (await roster.look(0)).added]
    assert bench.ledger.codes == (["foreign_position"] if end == END else [])
    assert roster.partitions[FIRST].wants_fetch is (end != END)
