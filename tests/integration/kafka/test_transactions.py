"""Transactional offset commits against a real coordinator: fencing, lost answers, refusals, what readers see meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from smartconnect.domain.errors import Fenced
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import ConnectionLost, MetadataTooLarge, PartitionRefused, PartitionsNotAdded, TransactionAborted
from smartconnect.kafka.groups import Committed, fetch_offsets
from smartconnect.kafka.messages import Api
from smartconnect.kafka.transactions import OffsetCommit, TransactionalId
from smartconnect.kafka.types import TopicPartition
from tests.support.services import Names
from tests.support.waiting import eventually


class Steps:
    """What a transactional id tells its observer."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []

    def __call__(self, step: str, details: Mapping[str, object]) -> None:
        self.told.append((step, dict(details)))

    @property
    def names(self) -> list[str]:
        """Steps without repetitions that are due to timing."""
        kept = [step for step, _ in self.told if not step.endswith((".again", ".waiting"))]
        return [step for number, step in enumerate(kept) if number == 0 or kept[number - 1] != step]


class AnswerThief:
    """Loses the answers to the next calls of some APIs, after the broker has carried them out."""

    def __init__(self) -> None:
        self.to_lose: dict[str, int] = {}

    def lose(self, api: str, times: int = 1) -> None:
        self.to_lose[api] = times


@pytest.fixture
def thief(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnswerThief]:
    thief = AnswerThief()
    call = Connection.call

    async def stealing(self: Connection, api: Api, fields: Mapping[str, object], **options: Any) -> Any:
        answer = await call(self, api, fields, **options)
        if thief.to_lose.get(api.name, 0) > 0:
            thief.to_lose[api.name] -= 1
            self.close()
            raise ConnectionLost(f"the answer to {api.name} was stolen")
        return answer

    monkeypatch.setattr(Connection, "call", stealing)
    yield thief
    assert not any(thief.to_lose.values()), "a theft did not happen"


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
async def owner(cluster: Cluster, names: Names, steps: Steps) -> TransactionalId:
    """An initialised transactional id of this test."""
    owner = TransactionalId(cluster, f"smartconnect.{names.base}", observe=steps)
    await owner.initialise()
    steps.told.clear()
    return owner


async def commit(owner: TransactionalId, group: str, offsets: Mapping[TopicPartition, OffsetCommit]) -> None:
    await owner.add_offsets(group)
    await owner.commit_offsets(group, offsets)
    await owner.end(commit=True)


async def committed(cluster: Cluster, group: str, tp: TopicPartition) -> Mapping[TopicPartition, Committed]:
    """The group's offsets once every transaction on it is decided."""

    async def stable() -> Any:
        found = await fetch_offsets(cluster, group, require_stable=True, partitions=[tp])
        return None if found.unstable else found

    return (await eventually(stable)).committed


async def test_committed_offsets_carry_epoch_and_metadata(
    cluster: Cluster, owner: TransactionalId, steps: Steps, names: Names, topic: str
) -> None:
    tp = TopicPartition(topic, 0)
    await commit(owner, names.group(), {tp: OffsetCommit(5, 0, '{"v":1}')})
    assert await committed(cluster, names.group(), tp) == {tp: Committed(5, 0, '{"v":1}')}
    assert steps.names == [
        "add_offsets.sent", "add_offsets.ok", "commit_offsets.sent", "commit_offsets.ok", "end.sent", "end.ok",
    ]  # fmt: skip
    assert steps.told[-1][1]["committed"] is True and steps.told[0][1]["producer_epoch"] == owner.epoch


async def test_many_transactions_in_a_row_keep_the_epoch(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    tp, epoch = TopicPartition(topic, 0), owner.epoch
    for offset in range(10):
        await commit(owner, names.group(), {tp: OffsetCommit(offset)})
    assert owner.epoch == epoch
    assert (await committed(cluster, names.group(), tp))[tp].offset == 9


async def test_undecided_offsets_are_unstable_and_an_abort_leaves_the_old_ones(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    tp, group = TopicPartition(topic, 0), names.group()
    await commit(owner, group, {tp: OffsetCommit(1)})
    await committed(cluster, group, tp)
    await owner.add_offsets(group)
    await owner.commit_offsets(group, {tp: OffsetCommit(2)})
    assert (await fetch_offsets(cluster, group, require_stable=True)).unstable == {tp}
    assert (await fetch_offsets(cluster, group, require_stable=False)).committed[tp].offset == 1
    await owner.end(commit=False)
    assert (await committed(cluster, group, tp))[tp].offset == 1


async def test_first_offset_of_a_partition_is_told_to_be_undecided_only_to_who_names_the_partition(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    """What Kafka does, and why `fetch_offsets` takes `partitions`."""
    tp, group = TopicPartition(topic, 0), names.group()
    await owner.add_offsets(group)
    await owner.commit_offsets(group, {tp: OffsetCommit(1)})
    assert (await fetch_offsets(cluster, group, require_stable=True)).unstable == frozenset()
    found = await fetch_offsets(cluster, group, require_stable=True, partitions=[tp])
    assert (found.committed, found.unstable) == ({}, {tp})
    await owner.end(commit=True)
    assert (await committed(cluster, group, tp))[tp].offset == 1


async def test_second_initialise_fences_the_first_and_aborts_its_transaction(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    tp, group = TopicPartition(topic, 0), names.group()
    await commit(owner, group, {tp: OffsetCommit(1)})
    await owner.add_offsets(group)
    await owner.commit_offsets(group, {tp: OffsetCommit(2)})
    newer = TransactionalId(cluster, owner.name)
    await newer.initialise()
    assert newer.producer_id == owner.producer_id and newer.epoch > owner.epoch
    with pytest.raises(Fenced):
        await owner.end(commit=True)
    for attempt in (owner.renew(), owner.add_offsets(group), owner.end(commit=True)):
        with pytest.raises(Fenced):
            await attempt
    assert (await committed(cluster, group, tp))[tp].offset == 1
    await commit(newer, group, {tp: OffsetCommit(3)})
    assert (await committed(cluster, group, tp))[tp].offset == 3


async def test_zombie_is_fenced_at_each_of_its_calls(cluster: Cluster, names: Names, topic: str) -> None:
    tp, group = TopicPartition(topic, 0), names.group()
    for call in ("add_offsets", "commit_offsets", "add_partitions", "renew"):
        zombie = TransactionalId(cluster, f"smartconnect.{names.base}.{call}")
        await zombie.initialise()
        if call == "commit_offsets":
            await zombie.add_offsets(group)
        await TransactionalId(cluster, zombie.name).initialise()
        with pytest.raises(Fenced):
            if call == "add_offsets":
                await zombie.add_offsets(group)
            elif call == "commit_offsets":
                await zombie.commit_offsets(group, {tp: OffsetCommit(9)})
            elif call == "add_partitions":
                await zombie.add_partitions([tp])
            else:
                await zombie.renew()
    assert await committed(cluster, group, tp) == {}


async def test_renew_gives_a_new_epoch_and_aborts_what_is_open(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    tp, group, epoch = TopicPartition(topic, 0), names.group(), owner.epoch
    await owner.add_offsets(group)
    await owner.commit_offsets(group, {tp: OffsetCommit(7)})
    await owner.renew()
    assert owner.epoch > epoch and not owner.is_open
    assert await committed(cluster, group, tp) == {}
    await commit(owner, group, {tp: OffsetCommit(8)})
    assert (await committed(cluster, group, tp))[tp].offset == 8


@pytest.mark.parametrize("lost", ["AddOffsetsToTxn", "TxnOffsetCommit"])
async def test_lost_answer_inside_a_transaction_aborts_it_with_a_new_epoch(
    cluster: Cluster, owner: TransactionalId, steps: Steps, thief: AnswerThief, names: Names, topic: str, lost: str
) -> None:
    tp, group, epoch = TopicPartition(topic, 0), names.group(), owner.epoch
    thief.lose(lost)
    with pytest.raises(TransactionAborted):
        await commit(owner, group, {tp: OffsetCommit(5)})
    assert owner.epoch > epoch and not owner.is_open
    assert steps.names[-3].endswith(".lost") and steps.names[-2:] == ["renew.sent", "renew.ok"]
    assert await committed(cluster, group, tp) == {}
    await commit(owner, group, {tp: OffsetCommit(6)})
    assert (await committed(cluster, group, tp))[tp].offset == 6


async def test_lost_answer_to_the_commit_is_asked_for_again_and_renewed_before_the_next(
    cluster: Cluster, owner: TransactionalId, steps: Steps, thief: AnswerThief, names: Names, topic: str
) -> None:
    tp, group, epoch = TopicPartition(topic, 0), names.group(), owner.epoch
    thief.lose("EndTxn", times=2)
    await commit(owner, group, {tp: OffsetCommit(5)})
    assert owner.epoch == epoch
    assert (await committed(cluster, group, tp))[tp].offset == 5
    assert steps.names[-6:] == ["end.sent", "end.lost", "end.sent", "end.lost", "end.sent", "end.ok"]
    await commit(owner, group, {tp: OffsetCommit(6)})
    assert owner.epoch > epoch
    assert steps.names[-8:-6] == ["renew.sent", "renew.ok"]
    assert (await committed(cluster, group, tp))[tp].offset == 6


async def test_lost_answer_to_renew_is_asked_for_again(
    cluster: Cluster, owner: TransactionalId, thief: AnswerThief, names: Names, topic: str
) -> None:
    tp, group = TopicPartition(topic, 0), names.group()
    thief.lose("InitProducerId")
    await owner.renew()
    await commit(owner, group, {tp: OffsetCommit(4)})
    assert (await committed(cluster, group, tp))[tp].offset == 4


async def test_commit_of_a_deleted_topic_is_refused_by_name_and_the_others_can_go_on(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    gone, present, group = TopicPartition(names.topic("gone"), 3), TopicPartition(topic, 0), names.group()
    with pytest.raises(PartitionRefused, match="gone-3") as refused:
        await commit(owner, group, {gone: OffsetCommit(1), present: OffsetCommit(1)})
    assert set(refused.value.partitions) == {gone} and not owner.is_open
    await commit(owner, group, {present: OffsetCommit(2)})
    found = await committed(cluster, group, present)
    assert {tp: entry.offset for tp, entry in found.items()} == {present: 2}


async def test_partition_that_is_not_there_is_not_added_and_the_open_transaction_goes_on(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    gone, present, group = TopicPartition(names.topic("gone"), 3), TopicPartition(topic, 0), names.group()
    with pytest.raises(PartitionsNotAdded, match="gone-3"):
        await owner.add_partitions([gone])
    assert not owner.is_open
    await owner.add_offsets(group)
    with pytest.raises(PartitionsNotAdded) as refused:
        await owner.add_partitions([present, gone])
    assert refused.value.partitions == {gone: KafkaCode.UNKNOWN_TOPIC_OR_PARTITION} and owner.is_open
    await owner.add_partitions([present])
    await owner.commit_offsets(group, {present: OffsetCommit(3)})
    await owner.end(commit=True)
    assert (await committed(cluster, group, present))[present].offset == 3


async def test_metadata_that_is_too_long_is_refused_by_partition(
    cluster: Cluster, owner: TransactionalId, names: Names, topic: str
) -> None:
    tp, group = TopicPartition(topic, 0), names.group()
    await commit(owner, group, {tp: OffsetCommit(1, 0, "x" * 4096)})
    with pytest.raises(MetadataTooLarge) as refused:
        await commit(owner, group, {tp: OffsetCommit(2, 0, "x" * 4097)})
    assert refused.value.partitions == {tp}
    assert (await committed(cluster, group, tp))[tp].offset == 1


async def test_transaction_that_timed_out_fences_its_owner(cluster: Cluster, names: Names, topic: str) -> None:
    tp, group = TopicPartition(topic, 0), names.group()
    slow = TransactionalId(cluster, f"smartconnect.{names.base}.slow", timeout_ms=500)
    await slow.initialise()
    await slow.add_offsets(group)
    await slow.commit_offsets(group, {tp: OffsetCommit(1)})

    async def aborted() -> bool:
        return not (await fetch_offsets(cluster, group, require_stable=True, partitions=[tp])).unstable

    await eventually(aborted, 40.0, what="the broker's timeout")
    with pytest.raises(Fenced):
        await slow.end(commit=True)
    assert await committed(cluster, group, tp) == {}
