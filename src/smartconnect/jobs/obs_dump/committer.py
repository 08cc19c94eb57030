"""The commit point: one transaction at a time moves positions and names prepared uploads (obs-dump.md §2, P2 and P4).

Whoever has something to commit says `want(partition)`. The committer wakes, waits out the commit interval, *freezes* what is due in all
wanted partitions and commits it in one transaction: AddOffsetsToTxn, TxnOffsetCommit, EndTxn(commit). Only the acknowledged EndTxn makes it
count; then `on_committed` hears of each newly named upload, which may now be completed. What becomes due meanwhile waits for the next.

The rules about lost answers (the same EndTxn until answered, a new epoch before the next transaction) are kept by `TransactionalId`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smartconnect.domain.clock import Clock
from smartconnect.jobs.obs_dump.entries import Entry, Promise, decode, encode
from smartconnect.jobs.obs_dump.partition import Partition, PendingEntry, SealedObject
from smartconnect.jobs.obs_dump.steps import IncarnationSteps, NamedUpload, Outcome, Step
from smartconnect.kafka.errors import MetadataTooLarge, PartitionRefused, PartitionsDenied, TransactionAborted
from smartconnect.kafka.groups import OffsetCommit
from smartconnect.kafka.transactions import TransactionalId
from smartconnect.kafka.types import TopicPartition
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import DUMP_COMMIT


@dataclass(slots=True, eq=False)
class Due:
    """What one transaction says of one partition; frozen before the transaction begins."""

    partition: Partition
    offset: int
    leader_epoch: int
    next_start: int
    objects: tuple[SealedObject, ...]
    kept: tuple[PendingEntry, ...]

    @property
    def promise(self) -> Promise:
        entries = [pending.entry for pending in self.kept]
        for sealed in self.objects:
            if sealed.replaces is not None:
                entries[entries.index(sealed.replaces)] = _entry_of(sealed)
            else:
                entries.append(_entry_of(sealed))
        return Promise(tuple(entries), None if self.next_start == self.offset else self.next_start)


@dataclass(slots=True)
class CommitterEvents:
    """Whom the committer tells. `on_refused`: the partition's topic is gone. `on_denied`: the right to read it is; whoever wants it to be
    committed says so again. `on_too_large`: not even one entry fits."""

    on_committed: Callable[[Partition, list[PendingEntry]], None] = lambda partition, named: None
    on_refused: Callable[[Partition], None] = lambda partition: None
    on_denied: Callable[[Partition], None] = lambda partition: None
    on_too_large: Callable[[Partition], None] = lambda partition: None


class Committer:
    """All commits of one incarnation, to the group of its run."""

    def __init__(
        self, txn: TransactionalId, group: str, events: CommitterEvents, steps: IncarnationSteps, clock: Clock, interval_s: float
    ) -> None:
        self._txn, self._group, self._events, self._steps = txn, group, events, steps
        self._clock, self._interval_s = clock, interval_s
        self._wanted: dict[TopicPartition, Partition] = {}
        self._wake = asyncio.Event()
        self._one_transaction = asyncio.Lock()

    def want(self, partition: Partition) -> None:
        """Something of this partition is to be committed soon."""
        self._wanted[partition.tp] = partition
        self._wake.set()

    async def run(self) -> None:
        """Commit what is wanted, at most every commit interval; for the incarnation's whole life."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(self._interval_s)
            await self.commit_wanted()

    async def commit_wanted(self) -> None:
        """One transaction for all that is due now; nothing if nothing is."""
        async with self._one_transaction:
            wanted, self._wanted = self._wanted, {}
            dues = {tp: due for tp, partition in wanted.items() if (due := _freeze(partition)) is not None}
            try:
                while dues:
                    if await self._try(dues):
                        self._settle(dues)
                        return
            finally:
                for partition in wanted.values():
                    partition.in_transaction = False

    async def prove_ownership(self) -> None:
        """A transaction begun now and committed, with nothing in it: AddOffsetsToTxn is refused, without any effect, if somebody newer
        exists (obs-dump.md §8, janitor). InitProducerId with our own epoch would prove the same, but a stale one aborts the
        successor's open transaction before it is refused."""
        async with self._one_transaction:
            while True:
                try:
                    await self._txn.add_offsets(self._group)
                    await self._txn.end(commit=True)
                    return
                except TransactionAborted:
                    continue

    async def commit_to(self, group: str, run: int, offsets: Mapping[TopicPartition, OffsetCommit]) -> None:
        """Commit offsets of another group of the task (an earlier run's): its entries are dropped that way. PartitionsDenied when all
        others are committed."""
        denied: set[TopicPartition] = set()
        async with self._one_transaction:
            while offsets:
                try:
                    await self._transact(group, run, offsets, {tp: decode(commit.metadata) for tp, commit in offsets.items()})
                    break
                except PartitionRefused as refused:
                    offsets = {tp: commit for tp, commit in offsets.items() if tp not in refused.partitions}
                except PartitionsDenied as refused:
                    denied |= refused.partitions
                    offsets = {tp: commit for tp, commit in offsets.items() if tp not in denied}
                except TransactionAborted:
                    continue
        if denied:
            raise PartitionsDenied(denied)

    async def _try(self, dues: dict[TopicPartition, Due]) -> bool:
        """One transaction. False: it was aborted, nothing of it counts; what stood in its way has been taken out of `dues`."""
        offsets = {tp: OffsetCommit(due.offset, due.leader_epoch, encode(due.promise)) for tp, due in dues.items()}
        try:
            await self._transact(self._group, self._steps.run, offsets, {tp: due.promise for tp, due in dues.items()})
        except PartitionRefused as refused:
            for tp in refused.partitions:
                self._events.on_refused(dues.pop(tp).partition)
            return False
        except PartitionsDenied as denied:
            for tp in denied.partitions:
                self._events.on_denied(dues.pop(tp).partition)
            return False
        except MetadataTooLarge as too_large:
            for tp in too_large.partitions:
                self._shrink(dues, tp)
            return False
        except TransactionAborted:
            return False
        return True

    async def _transact(
        self, group: str, run: int, offsets: Mapping[TopicPartition, OffsetCommit], promises: Mapping[TopicPartition, Promise]
    ) -> None:
        began = self._clock.monotonic()
        await self._txn.add_offsets(group)
        for tp, promise in promises.items():
            self._steps.note_run(
                run,
                Step.TXN_OFFSET_COMMIT,
                Outcome.SENT,
                partition=str(tp),
                offset=offsets[tp].offset,
                start=offsets[tp].offset if promise.next_start is None else promise.next_start,
                entries=tuple(NamedUpload(e.upload, e.start, e.end) for e in promise.entries),
            )
        await self._txn.commit_offsets(group, offsets)
        await self._txn.end(commit=True)
        PROCESS_METERS.observe(DUMP_COMMIT, self._clock.monotonic() - began, (self._steps.task,))

    def _shrink(self, dues: dict[TopicPartition, Due], tp: TopicPartition) -> None:
        """The broker allows less metadata than four entries need: one at a time from now on."""
        due = dues.pop(tp)
        partition = due.partition
        if len(due.promise.entries) <= 1:
            self._events.on_too_large(partition)
            return
        partition.entry_limit = 1
        partition.in_transaction = False
        self.want(partition)

    def _settle(self, dues: Mapping[TopicPartition, Due]) -> None:
        now = self._clock.monotonic()
        for due in dues.values():
            partition = due.partition
            partition.in_transaction = False
            if partition.remade_as is not None and partition.position is None:
                partition.topic_before = partition.topic_before or partition.topic_id
                partition.topic_id, partition.remade_as, partition.told = partition.remade_as, None, False
            partition.position, partition.position_epoch = due.offset, due.leader_epoch
            partition.position_start = due.next_start
            partition.committed_at, partition.recommit = now, False
            if partition.open is None and not partition.sealed:
                partition.moved_since = None
            named = self._name(partition, due)
            self._events.on_committed(partition, named)

    def _name(self, partition: Partition, due: Due) -> list[PendingEntry]:
        """The committed promise becomes what is pending; new are those that this transaction named first."""
        kept = list(due.kept)
        named = []
        for sealed in due.objects:
            pending = PendingEntry(_entry_of(sealed), self._steps.run, sealed.upload, sealed.records, partition.topic_id)
            named.append(pending)
            if sealed.replaces is not None:
                partition.replacements.remove(sealed)
                place = [p.entry for p in kept].index(sealed.replaces)
                pending.topic_id = kept[place].topic_id
                kept[place] = pending
            else:
                partition.sealed.remove(sealed)
                kept.append(pending)
        partition.pending = kept
        return named


def _freeze(partition: Partition) -> Due | None:
    """What of a partition can be committed now: prepared objects from the front, as many as the promise has room for; entries that are
    done are left out; without objects on their way, the position moves to where we have read."""
    if partition.forgotten or partition.foreign or partition.start_unknown:
        return None
    kept = tuple(pending for pending in partition.pending if not pending.done)
    objects = list(partition.replacements)
    for sealed in partition.sealed:
        if sealed.entry is None or len(kept) + len(objects) >= partition.entry_limit:
            break
        objects.append(sealed)
    ordered = [sealed for sealed in objects if sealed.replaces is None]
    if ordered:
        last = ordered[-1]
        offset, epoch, start = last.end, last.leader_epoch, last.end
    elif partition.open is None and not partition.sealed:
        offset, epoch, start = partition.read, partition.leader_epoch, partition.next_start
    elif partition.position is not None:
        offset, epoch, start = partition.position, partition.position_epoch, partition.position_start
    else:
        return None
    unchanged = (offset, start) == (partition.position, partition.position_start) and len(kept) == len(partition.pending)
    if unchanged and not objects and not partition.recommit:
        return None
    partition.in_transaction = True
    return Due(partition, offset, epoch, start, tuple(objects), kept)


def _entry_of(sealed: SealedObject) -> Entry:
    assert sealed.entry is not None
    return sealed.entry
