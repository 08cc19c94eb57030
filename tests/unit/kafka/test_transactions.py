"""The rules of obs-dump.md §2, row by row, against a coordinator that answers from a script."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from smartconnect.domain.errors import ClusterUnreachable, Fenced, PermissionMissing
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.errors import ConnectionLost, MetadataTooLarge, PartitionRefused, PartitionsNotAdded, TransactionAborted
from smartconnect.kafka.messages import Api
from smartconnect.kafka.timing import Pauses
from smartconnect.kafka.transactions import OffsetCommit, TransactionalId
from smartconnect.kafka.types import TopicPartition

LOST = object()
P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


class Coordinator:
    """Stands for cluster and connection: answers each API from its script, with success where the script is at its end."""

    def __init__(self) -> None:
        self.script: dict[str, list[object]] = {}
        self.calls: list[tuple[str, dict[str, object]]] = []
        self.forgotten: list[tuple[int, str]] = []
        self.unreachable = 0
        self.losses = 0
        self.epoch = 0

    def pauses(self, shortest_s: float, longest_s: float) -> Pauses:
        return Pauses(0.0, 0.0, lambda: 0.0)

    async def coordinator(self, kind: int, key: str) -> Coordinator:
        if self.unreachable:
            self.unreachable -= 1
            raise ClusterUnreachable("nobody answers")
        return self

    def forget_coordinator(self, kind: int, key: str) -> None:
        self.forgotten.append((kind, key))

    async def call(self, api: Api, fields: Mapping[str, object]) -> Any:
        self.calls.append((api.name, dict(fields)))
        script = self.script.get(api.name, [])
        step = script.pop(0) if script else 0
        if step is LOST:
            raise ConnectionLost("gone")
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, dict):
            parts = [SimpleNamespace(partition_index=tp.partition, error_code=int(code)) for tp, code in step.items()]
            return SimpleNamespace(topics=[SimpleNamespace(name="t", partitions=parts)])
        if api.name == "InitProducerId" and not step:
            self.epoch += 1
        return SimpleNamespace(error_code=step, producer_id=7, producer_epoch=self.epoch)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture
def coordinator() -> Coordinator:
    return Coordinator()


@pytest.fixture
async def owner(coordinator: Coordinator) -> TransactionalId:
    owner = TransactionalId(cast(Cluster, coordinator), "id")
    await owner.initialise()
    coordinator.calls.clear()
    return owner


async def run(owner: TransactionalId, *, commit: bool = True) -> None:
    await owner.add_offsets("g")
    await owner.commit_offsets("g", {P0: OffsetCommit(1), P1: OffsetCommit(2)})
    await owner.end(commit=commit)


@pytest.mark.parametrize(
    "code", [KafkaCode.NOT_COORDINATOR, KafkaCode.COORDINATOR_NOT_AVAILABLE, KafkaCode.COORDINATOR_LOAD_IN_PROGRESS]
)
@pytest.mark.parametrize("api", ["InitProducerId", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"])
async def test_coordinator_that_moved_is_looked_up_and_asked_the_same(
    coordinator: Coordinator, owner: TransactionalId, api: str, code: KafkaCode
) -> None:
    coordinator.script[api] = [{P0: code, P1: code} if api == "TxnOffsetCommit" else code]
    await owner.renew() if api == "InitProducerId" else await run(owner)
    asked = [fields for name, fields in coordinator.calls if name == api]
    assert len(asked) == 2 and asked[0] == asked[1] and coordinator.forgotten


@pytest.mark.parametrize("api", ["AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"])
async def test_markers_of_the_last_transaction_are_waited_for(coordinator: Coordinator, owner: TransactionalId, api: str) -> None:
    busy = KafkaCode.CONCURRENT_TRANSACTIONS
    coordinator.script[api] = [{P0: busy} if api == "TxnOffsetCommit" else busy] * 3
    await run(owner)
    assert coordinator.names().count(api) == 4 and "InitProducerId" not in coordinator.names()


@pytest.mark.parametrize(
    "code", [KafkaCode.PRODUCER_FENCED, KafkaCode.INVALID_PRODUCER_EPOCH, KafkaCode.INVALID_PRODUCER_ID_MAPPING]
)
@pytest.mark.parametrize("api", ["AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"])
async def test_fenced_owner_touches_nothing_any_more(
    coordinator: Coordinator, owner: TransactionalId, api: str, code: KafkaCode
) -> None:
    coordinator.script[api] = [{P0: code} if api == "TxnOffsetCommit" else code]
    with pytest.raises(Fenced):
        await run(owner)
    assert coordinator.names()[-1] == api
    asked = len(coordinator.calls)
    for again in (owner.renew(), owner.end(commit=False), owner.end(commit=True), owner.add_offsets("g")):
        with pytest.raises(Fenced):
            await again
    assert len(coordinator.calls) == asked


async def test_commit_that_the_coordinator_does_not_expect_is_being_fenced(
    coordinator: Coordinator, owner: TransactionalId
) -> None:
    coordinator.script["EndTxn"] = [KafkaCode.INVALID_TXN_STATE]
    with pytest.raises(Fenced):
        await run(owner)


@pytest.mark.parametrize("api", ["AddOffsetsToTxn", "TxnOffsetCommit"])
async def test_lost_answer_inside_a_transaction_renews_at_once(coordinator: Coordinator, owner: TransactionalId, api: str) -> None:
    coordinator.script[api] = [LOST]
    with pytest.raises(TransactionAborted):
        await run(owner)
    assert coordinator.names()[-2:] == [api, "InitProducerId"] and owner.epoch == 2
    assert coordinator.calls[-1][1]["producer_id"] == 7 and coordinator.calls[-1][1]["producer_epoch"] == 1
    await run(owner)
    assert coordinator.names().count("InitProducerId") == 1


async def test_lost_answer_to_the_commit_repeats_it_and_renews_before_the_next(
    coordinator: Coordinator, owner: TransactionalId
) -> None:
    coordinator.script["EndTxn"] = [LOST, LOST, KafkaCode.CONCURRENT_TRANSACTIONS]
    await run(owner)
    ends = [fields for name, fields in coordinator.calls if name == "EndTxn"]
    assert len(ends) == 4 and all(fields == ends[0] for fields in ends) and "InitProducerId" not in coordinator.names()
    coordinator.calls.clear()
    await run(owner)
    assert coordinator.names()[:2] == ["InitProducerId", "AddOffsetsToTxn"]


async def test_lost_answer_to_renew_is_asked_the_same_again(coordinator: Coordinator, owner: TransactionalId) -> None:
    coordinator.script["InitProducerId"] = [LOST, KafkaCode.CONCURRENT_TRANSACTIONS]
    await owner.renew()
    asked = [fields for name, fields in coordinator.calls]
    assert len(asked) == 3 and asked[0] == asked[1] == asked[2]
    await run(owner)
    assert coordinator.names().count("InitProducerId") == 3


async def test_unknown_partitions_are_named_after_the_abort(coordinator: Coordinator, owner: TransactionalId) -> None:
    coordinator.script["TxnOffsetCommit"] = [{P0: KafkaCode.NONE, P1: KafkaCode.UNKNOWN_TOPIC_OR_PARTITION}]
    with pytest.raises(PartitionRefused) as refused:
        await run(owner)
    assert set(refused.value.partitions) == {P1}
    assert coordinator.calls[-1] == ("EndTxn", coordinator.calls[-1][1] | {"committed": False})


@pytest.mark.parametrize("code", [KafkaCode.UNKNOWN_TOPIC_OR_PARTITION, KafkaCode.TOPIC_AUTHORIZATION_FAILED])
async def test_partitions_that_cannot_be_added_are_named_and_nothing_ends(
    coordinator: Coordinator, owner: TransactionalId, code: KafkaCode
) -> None:
    coordinator.script["AddPartitionsToTxn"] = [{P0: KafkaCode.OPERATION_NOT_ATTEMPTED, P1: code}]
    with pytest.raises(PartitionsNotAdded) as refused:
        await owner.add_partitions([P0, P1])
    assert refused.value.partitions == {P1: code} and not owner.is_open
    assert coordinator.names()[-1] == "AddPartitionsToTxn"
    await run(owner)
    assert coordinator.names()[-1] == "EndTxn"


async def test_metadata_that_is_too_large_is_named_after_the_abort(coordinator: Coordinator, owner: TransactionalId) -> None:
    coordinator.script["TxnOffsetCommit"] = [{P0: KafkaCode.OFFSET_METADATA_TOO_LARGE}]
    with pytest.raises(MetadataTooLarge) as refused:
        await run(owner)
    assert refused.value.partitions == {P0} and not owner.is_open


@pytest.mark.parametrize("api", ["AddOffsetsToTxn", "TxnOffsetCommit"])
async def test_missing_right_is_told_after_the_abort(coordinator: Coordinator, owner: TransactionalId, api: str) -> None:
    code = KafkaCode.GROUP_AUTHORIZATION_FAILED
    coordinator.script[api] = [{P0: code} if api == "TxnOffsetCommit" else code]
    with pytest.raises(PermissionMissing, match="group"):
        await run(owner)
    assert coordinator.names()[-1] == "EndTxn"


async def test_abort_of_what_the_broker_never_began_is_done_and_renewed(coordinator: Coordinator, owner: TransactionalId) -> None:
    coordinator.script["AddOffsetsToTxn"] = [KafkaCode.GROUP_AUTHORIZATION_FAILED]
    coordinator.script["EndTxn"] = [KafkaCode.INVALID_TXN_STATE]
    with pytest.raises(PermissionMissing):
        await run(owner)
    await run(owner)
    assert coordinator.names()[2] == "InitProducerId"


async def test_commit_that_was_sent_is_never_turned_into_an_abort(coordinator: Coordinator, owner: TransactionalId) -> None:
    coordinator.script["EndTxn"] = [asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        await run(owner)
    with pytest.raises(RuntimeError, match="commit"):
        await owner.end(commit=False)
    await owner.end(commit=True)
    coordinator.calls.clear()
    await run(owner)
    assert coordinator.names()[0] == "InitProducerId"


async def test_call_whose_caller_was_cancelled_counts_as_lost(coordinator: Coordinator, owner: TransactionalId) -> None:
    coordinator.script["TxnOffsetCommit"] = [asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        await run(owner)
    with pytest.raises(TransactionAborted):
        await owner.add_offsets("g")
    assert coordinator.names()[-1] == "InitProducerId"
    await run(owner)


async def test_coordinator_that_cannot_be_reached_is_waited_for_inside_a_transaction(
    coordinator: Coordinator, owner: TransactionalId
) -> None:
    await owner.add_offsets("g")
    coordinator.unreachable = 3
    await owner.commit_offsets("g", {P0: OffsetCommit(1)})
    coordinator.unreachable = 3
    await owner.end(commit=True)
    coordinator.unreachable = 1
    with pytest.raises(ClusterUnreachable):
        await TransactionalId(cast(Cluster, coordinator), "other").initialise()


async def test_misuse_is_an_error_of_the_program(coordinator: Coordinator, owner: TransactionalId) -> None:
    with pytest.raises(RuntimeError, match="add_offsets"):
        await owner.commit_offsets("g", {P0: OffsetCommit(1)})
    with pytest.raises(RuntimeError, match="no open transaction"):
        await owner.end(commit=True)
    await owner.end(commit=False)
    with pytest.raises(RuntimeError, match="initialised"):
        await TransactionalId(cast(Cluster, coordinator), "new").add_offsets("g")
    assert coordinator.calls == []


@pytest.mark.parametrize("commit", [True, False])
async def test_after_a_lost_connection_the_last_end_is_given_once_more(
    coordinator: Coordinator, owner: TransactionalId, commit: bool
) -> None:
    await run(owner, commit=commit)
    coordinator.losses += 1
    coordinator.calls.clear()
    await owner.add_offsets("other")
    await owner.end(commit=not commit)
    told = [(name, fields.get("group_id", fields.get("committed"))) for name, fields in coordinator.calls]
    again = [("AddOffsetsToTxn", "g"), ("EndTxn", commit)]
    assert told == [*again, ("AddOffsetsToTxn", "other"), ("EndTxn", not commit)]
    coordinator.calls.clear()
    await run(owner)
    assert coordinator.names() == ["AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"]


async def test_a_connection_lost_within_a_transaction_counts(coordinator: Coordinator, owner: TransactionalId) -> None:
    await owner.add_offsets("g")
    coordinator.losses += 1
    await owner.end(commit=True)
    coordinator.calls.clear()
    await run(owner)
    assert coordinator.names()[:2] == ["AddOffsetsToTxn", "EndTxn"]


async def test_what_a_new_epoch_has_aborted_is_aborted_once_more(coordinator: Coordinator, owner: TransactionalId) -> None:
    coordinator.script["TxnOffsetCommit"] = [LOST]
    with pytest.raises(TransactionAborted):
        await run(owner)
    coordinator.losses += 1
    coordinator.calls.clear()
    await run(owner)
    assert [fields["committed"] for name, fields in coordinator.calls if name == "EndTxn"] == [False, True]


async def test_a_lost_connection_before_the_first_transaction_means_nothing(
    coordinator: Coordinator, owner: TransactionalId
) -> None:
    coordinator.losses += 1
    await run(owner)
    assert coordinator.names() == ["AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"]


async def test_an_end_whose_repetition_was_aborted_is_repeated_as_it_was(coordinator: Coordinator, owner: TransactionalId) -> None:
    await run(owner)
    coordinator.losses += 1
    coordinator.script["AddOffsetsToTxn"] = [LOST]
    with pytest.raises(TransactionAborted):
        await run(owner)
    coordinator.calls.clear()
    await run(owner, commit=False)
    assert [fields["committed"] for name, fields in coordinator.calls if name == "EndTxn"] == [True, False]
