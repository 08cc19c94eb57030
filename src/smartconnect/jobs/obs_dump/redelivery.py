"""A lost upload is made again: exactly its range is read from Kafka and uploaded under the same key (obs-dump.md §3, F1, F2).

The same name and the same records: a Complete that was thought lost may still come true and harms nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from smartconnect import kernels
from smartconnect.domain.errors import Retryable
from smartconnect.domain.progress import Level
from smartconnect.jobs.obs_dump.entries import Entry
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition, PendingEntry, SealedObject
from smartconnect.jobs.obs_dump.rests import Rests
from smartconnect.jobs.obs_dump.steps import Step
from smartconnect.jobs.obs_dump.uploads import ObjectUpload, WishedName
from smartconnect.kafka.codes import KafkaCode
from smartconnect.kafka.fetcher import FetchedPartition, Fetcher, FetchOptions
from smartconnect.kafka.offsets import EARLIEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition
from smartconnect.kernels import BlockWriter, JoinPlan, Kind, Limits, Section

_ANSWER_S = 30.0
_AGAIN_S = 5.0


class RangeReader:
    """Joins the records of exactly [start, end) of one partition into a writer. `missing`: what of the range Kafka does not have."""

    def __init__(self, plan: JoinPlan, writer: BlockWriter, start: int, end: int) -> None:
        self._plan, self._writer = plan, writer
        self._scratch = kernels.Scratch()
        self.position, self._end = start, end
        self.records = 0
        self.missing: list[tuple[int, int]] = []

    def append(self, fetched: FetchedPartition) -> None:
        """Take in what belongs to the range; raises KernelError for damaged data."""
        batches = [b for b in kernels.walk(fetched.records, self.position, fetched.aborted) if b.base_offset < self._end]
        for batch in batches:
            if batch.kind in (Kind.DATA, Kind.LEGACY) and not kernels.verify_crc(fetched.records, batch):
                raise Retryable(
                    f"the batch at offset {batch.base_offset} of {fetched.tp} breaks its checksum", code="damaged_batch"
                )
        for group in kernels.sections(fetched.records, batches, self._scratch):
            for section in group:
                self._join(section)

    def _join(self, section: Section) -> None:
        if section.last_offset < self._end:
            result = kernels.join([section], self._plan, self._writer, Limits(self.position))
            self.records += result.records_written
            self.position = result.next_offset
            return
        for before, result in self._one_by_one(section):
            if result.last_record_offset >= self._end:
                self._writer.settle(*before)
                break
            self.records += result.records_written
        self.position = self._end

    def _one_by_one(self, section: Section) -> Iterator[tuple[tuple[int, int], kernels.JoinResult]]:
        """The batch in which the range ends, record by record until one lies behind it; with what the writer was before each."""
        resume = kernels.START
        while True:
            before = self._writer.length, self._writer.crc32c
            result = kernels.join([section], self._plan, self._writer, Limits(self.position, max_records=1), resume)
            if result.records_written:
                yield before, result
            if result.consumed_all:
                return
            resume = result.resume


class Redelivery:
    """Makes the replacement of a lost upload, up to P1."""

    def __init__(self, inc: Incarnation, rests: Rests) -> None:
        self._inc, self._rests = inc, rests

    async def prepare(self, partition: Partition, pending: PendingEntry) -> SealedObject | None:
        """The prepared replacement; None if Kafka has none of the range's records any more. What it does not have is a gap."""
        inc, entry = self._inc, pending.entry
        name = WishedName(
            entry.key,
            {"sc-task": inc.context.task.id, "sc-run": str(inc.context.task.run), "sc-start": str(entry.start)},
            may_be_taken=False,
        )
        upload = ObjectUpload(inc.uploads, partition.tp, name, inc.crew.fail)
        spec = inc.spec
        writer = BlockWriter(inc.pool)
        reader = RangeReader(
            JoinPlan(spec.record_delimiter, spec.kv_delimiter if spec.store_keys else None), writer, entry.start, entry.end
        )
        await self._read(pending, reader, partition, upload, writer)
        if writer.length:
            upload.add_part(writer.take())
        self._tell_gaps(partition, reader.missing if reader.records else [(entry.start, entry.end)])
        if reader.records == 0:
            upload.forget()
            return None
        await upload.all_sent()
        inc.crew.check()
        sealed = SealedObject(entry.start, entry.end, partition.leader_epoch, reader.records, 0, upload, replaces=entry)
        sealed.entry = upload.entry(entry.bucket, entry.start, entry.end)
        inc.steps.note(
            Step.SEAL,
            partition=str(partition.tp),
            upload=upload.upload_id,
            start=entry.start,
            offset=entry.end,
            replaces=entry.upload,
        )
        return sealed

    async def _read(
        self, pending: PendingEntry, reader: RangeReader, partition: Partition, upload: ObjectUpload, writer: BlockWriter
    ) -> None:
        entry = pending.entry
        options = FetchOptions(max_bytes=1 << 20, partition_max_bytes=1 << 20, connections_per_leader=1)
        async with Fetcher(self._inc.cluster, options, self._inc.memory) as fetcher:
            fetcher.assign(partition.tp, entry.start, topic_id=pending.topic_id)
            while reader.position < entry.end:
                frame = await fetcher.next(_ANSWER_S)
                if frame is None:
                    continue
                try:
                    for fetched in frame.partitions:
                        if fetched.error is None:
                            reader.append(fetched)
                        elif not await self._goes_on(fetcher, reader, fetched, partition, entry):
                            reader.missing.append((reader.position, entry.end))
                            return
                finally:
                    frame.release()
                if writer.length >= self._inc.spec.part_size:
                    upload.add_part(writer.take())

    async def _goes_on(
        self, fetcher: Fetcher, reader: RangeReader, fetched: FetchedPartition, partition: Partition, entry: Entry
    ) -> bool:
        """Whether Kafka has, or may have, more of the range. Only a deleted topic, or a log that begins behind it, says that it has not;
        what is refused, or not told, is asked for again after a while."""
        match fetched.error:
            case KafkaCode.UNKNOWN_TOPIC_OR_PARTITION | KafkaCode.INCONSISTENT_TOPIC_ID:
                return False
            case KafkaCode.OFFSET_OUT_OF_RANGE:
                asked = {partition.tp: EARLIEST}
                listed = (await list_offsets(self._inc.cluster, asked, READ_COMMITTED, patient=False))[partition.tp]
                if listed.error is None:
                    return self._skip_gap(fetcher, reader, partition.tp, listed.offset, entry)
            case KafkaCode.TOPIC_AUTHORIZATION_FAILED:
                self._rests.denied(partition)
            case code:
                assert code is not None
                self._rests.refused(partition, code)
        await asyncio.sleep(_AGAIN_S)
        fetcher.seek(partition.tp, reader.position)
        return True

    def _skip_gap(self, fetcher: Fetcher, reader: RangeReader, tp: TopicPartition, start: int, entry: Entry) -> bool:
        """Retention overtook the range: go on at the log's start, if that is still inside; False if nothing is left."""
        if not reader.position < start < entry.end:
            return False
        reader.missing.append((reader.position, start))
        reader.position = start
        fetcher.seek(tp, start)
        return True

    def _tell_gaps(self, partition: Partition, missing: list[tuple[int, int]]) -> None:
        for start, end in missing:
            partition.gaps += 1
            self._inc.counters["gaps"] += 1
            what = f"Kafka no longer has {partition.tp} [{start}, {end}) of a lost upload"
            self._inc.context.ledger.event(Level.ERROR, "gap", what)
