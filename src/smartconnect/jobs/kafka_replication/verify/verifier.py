"""`verify` of one direction, top to bottom: positions first, so that everything below them must be on the target; then partition by
partition, each from where its copy begins to its position."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from smartconnect.domain.errors import AuthenticationFailed, ClusterUnreachable, SmartConnectError
from smartconnect.domain.verification import Finding, FindingKind, VerifyRequest, VerifyResult
from smartconnect.jobs.kafka_replication.naming import Naming
from smartconnect.jobs.kafka_replication.position_store import Positions, PositionStore
from smartconnect.jobs.kafka_replication.topic_view import Link, TopicView, view_options
from smartconnect.jobs.kafka_replication.verify.align import begin
from smartconnect.jobs.kafka_replication.verify.compare import Comparison, Difference
from smartconnect.jobs.kafka_replication.verify.log import Expired
from smartconnect.jobs.kafka_replication.verify.sides import Copied, Gone, Sides, Way
from smartconnect.kafka.types import TopicPartition

_MOST_DIFFERENCES: Final = 20


class Verifier:
    """One direction. `result` counts while it runs."""

    def __init__(self, way: Way, request: VerifyRequest, result: VerifyResult) -> None:
        self._way, self._request, self._result = way, request, result
        self._sides = Sides(way)

    async def run(self) -> AsyncGenerator[Finding]:
        """What was found, partition by partition."""
        try:
            naming = await self._sides.open()
            async with aclosing(self._partitions(naming)) as findings:
                async for finding in findings:
                    self._result.note(finding)
                    yield finding
        finally:
            await self._sides.close()

    async def _partitions(self, naming: Naming) -> AsyncGenerator[Finding]:
        way = self._way
        positions = await PositionStore(way.target, way.task.id, way.task.run, way.direction).read_if_any(self._is_asked)
        options = view_options(way.spec, way.direction, way.task.id, self._is_asked)
        seen = await TopicView(way.source, way.target, naming, options).look()
        for tp in sorted({*positions, *positions.unreadable, *seen.links, *seen.waiting}):
            self._result.partitions += 1
            target = TopicPartition(naming.target_of(tp.topic), tp.partition)
            link = seen.links.get(tp, Link(tp, target, None, None))
            async with aclosing(self._partition(link, positions)) as findings:
                async for finding in findings:
                    yield finding

    def _is_asked(self, tp: TopicPartition) -> bool:
        return self._request.topic in (None, tp.topic)

    async def _partition(self, link: Link, positions: Positions) -> AsyncGenerator[Finding]:
        position, unreadable = positions.get(link.source), positions.unreadable.get(link.source)
        if unreadable is not None:
            yield self._finding(link, FindingKind.UNREADABLE, unreadable)
        elif position is None:
            yield self._finding(link, FindingKind.EQUAL, "nothing of it is committed yet")
        else:
            try:
                async with aclosing(self._compared(Copied(link, position))) as findings:
                    async for finding in findings:
                        yield finding
            except Expired:
                what = f"retention or compaction overtook the comparison with offsets before {position.next_source}; verify again"
                yield self._finding(link, FindingKind.EXPIRED, what)
            except Gone as gone:
                yield self._finding(link, gone.kind, str(gone))
            except (ClusterUnreachable, AuthenticationFailed):
                raise
            except SmartConnectError as error:
                yield self._finding(link, FindingKind.UNREADABLE, str(error))

    async def _compared(self, copied: Copied) -> AsyncGenerator[Finding]:
        link, sides, last = copied.link, self._sides, self._request.last
        source, target = sides.source_log(link), sides.target_log(link)
        try:
            ours, theirs = await sides.stretches(copied, source, target)
            found = await begin(ours, theirs, first_run=self._way.task.run == 1, last=last)
            started = copied.position.start
            expired = found.expired or (last is None and started is not None and started < min(ours.log_start, ours.end))
            if expired:
                what = f"expired before source offset {found.source} / target offset {found.target}"
                yield self._finding(link, FindingKind.EXPIRED, what, found.source, found.target)
            comparison = Comparison(ours, theirs)
            alike = True
            async with aclosing(self._differences(link, comparison, found.source, found.target)) as findings:
                async for finding in findings:
                    alike = False
                    yield finding
            self._result.records += comparison.records
            if alike and (comparison.records or not expired):
                what = f"{comparison.records} records, source offsets [{found.source}, {ours.end}), target [{found.target}, {theirs.end})"
                yield self._finding(link, FindingKind.EQUAL, what, found.source, found.target)
        finally:
            self._result.nbytes += source.nbytes

    async def _differences(self, link: Link, comparison: Comparison, source: int, target: int) -> AsyncGenerator[Finding]:
        count = 0
        async with aclosing(comparison.differences(source, target)) as differences:
            async for difference in differences:
                where = difference.source, difference.target
                if (compacted := await self._sides.compacted(link)) is not None:
                    what = f"{compacted} is compacted: from source offset {difference.source} on there is nothing to compare"
                    yield self._finding(link, FindingKind.EXPIRED, what, *where)
                    return
                count += 1
                more = " (further ones are not looked for)" if count == _MOST_DIFFERENCES else ""
                yield self._finding(link, FindingKind.DIFFERS, f"{in_words(difference)}{more}", *where)
                if more:
                    return

    def _finding(self, link: Link, kind: FindingKind, what: str, source: int | None = None, target: int | None = None) -> Finding:
        way, tp = self._way, link.source
        name = str(tp) if len(way.spec.directions) == 1 else f"{way.direction} {tp}"
        message = f"{name}: {what}"
        return Finding(kind, message, *tp, way.task.run, source, direction=way.direction.value, target_offset=target)


def in_words(difference: Difference) -> str:
    """What a person reads of it."""
    source, target, missing, extra = difference
    where = f"differs at source offset {source} / target offset {target}"
    if missing is None or extra is None:
        return f"{where}, and the two do not become alike again soon behind it"
    if not extra:
        return f"{where}: {_records(missing)} not on the target"
    if not missing:
        return f"{where}: the target has {extra} more there than the source"
    return f"{where}: {_records(missing)} on the source, {extra} others on the target"


def _records(count: int) -> str:
    return "1 record is" if count == 1 else f"{count} records are"
