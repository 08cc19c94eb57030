"""The decode path as a job uses it: what is asked of the kernel for one group of batches, and where it runs (kafka-replication.md §3)."""

from __future__ import annotations

import asyncio
from typing import Final

from smartconnect.domain.errors import PartitionBlocked
from smartconnect.jobs.kafka_replication.incarnation import Incarnation
from smartconnect.jobs.kafka_replication.partition import Partition
from smartconnect.jobs.kafka_replication.rules import Group, Rules
from smartconnect.jobs.kafka_replication.topic_limits import TopicLimits
from smartconnect.kernels import DecompressionBomb, Hop, MalformedBatch, Place, Recoded, RecodePlan, Scratch, recode

_INLINE_BYTES: Final = 16 << 10
_MOST_BYTES: Final = 256 << 20
_SCRATCH_BYTES: Final = 1 << 20
_STEP_BYTES: Final = 8 << 20
_CLOCKS_DIFFER_MS: Final = 60_000
_LAST_TIME: Final = 2**63 - 1


class Recoding:
    """One incarnation's; one call at a time."""

    def __init__(self, inc: Incarnation, rules: Rules) -> None:
        self._inc, self._rules = inc, rules
        self._scratch = Scratch(_SCRATCH_BYTES, _MOST_BYTES)

    async def recode(self, partition: Partition, group: Group, records: memoryview, limits: TopicLimits) -> Recoded:
        """The group's records in new batches that the target takes. PartitionBlocked where one record alone is larger, or where the
        source's bytes cannot be decoded although their checksum is right."""
        plan = self._plan(partition, limits)
        nbytes = group.rows[-1].end - group.rows[0].start
        try:
            if nbytes <= _INLINE_BYTES:
                found = recode(records, group.rows, plan, self._scratch)
            else:
                found = await self._in_thread(records, group, plan)
        except (MalformedBatch, DecompressionBomb) as error:
            raise PartitionBlocked(
                f"{partition.tp} cannot be decoded at offset {partition.read}: {error}", code="damaged_batch"
            ) from error
        if found.oversized:
            raise PartitionBlocked(
                f"the record at offset {found.oversized[0]} of {partition.tp} is larger than max.message.bytes "
                f"({limits.max_message_bytes}) of {partition.link.target.topic} on the target: raise it there",
                code="record_too_large",
            )
        return found

    async def _in_thread(self, records: memoryview, group: Group, plan: RecodePlan) -> Recoded:
        loop = asyncio.get_running_loop()
        decoding = loop.run_in_executor(self._inc.resources.decoders, recode, records, group.rows, plan, self._scratch)
        try:
            return await asyncio.shield(decoding)
        except asyncio.CancelledError:
            await asyncio.wait({decoding})  # the thread still reads the frame: it may not be given away yet
            raise

    def _plan(self, partition: Partition, limits: TopicLimits) -> RecodePlan:
        now = self._inc.clock.now_ms()
        return RecodePlan(
            from_offset=partition.read,
            codec=self._rules.codec,
            max_bytes=limits.max_message_bytes,
            append_time_is_create_time=self._rules.append_time,
            hop=self._hop(partition, now) if self._rules.provenance else None,
            skip=partition.left_out,
            clamp=_allowed(limits, now) if partition.clamps else None,
            enough_bytes=_STEP_BYTES,
        )

    def _hop(self, partition: Partition, now_ms: int) -> Hop:
        inc, source, target = self._inc, partition.link.source, partition.link.target
        return Hop(
            source=Place(inc.source_id, source.topic),
            partition=source.partition,
            timestamp=now_ms,
            loop=Place(inc.target_id, target.topic),
        )


def _allowed(limits: TopicLimits, now_ms: int) -> tuple[int, int]:
    """The times that the target takes, less what its clock may differ from ours."""
    before = limits.before_ms - min(_CLOCKS_DIFFER_MS, limits.before_ms // 2)
    after = limits.after_ms - min(_CLOCKS_DIFFER_MS, limits.after_ms // 2)
    return max(0, now_ms - before), min(_LAST_TIME, now_ms + after)
