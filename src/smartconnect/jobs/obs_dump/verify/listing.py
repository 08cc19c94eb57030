"""What is in the bucket under the task's prefix: objects of the task go into the catalog, everything else there is foreign. Metadata is
asked for object by object, some at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from smartconnect.domain.task import Task
from smartconnect.domain.verification import Finding, FindingKind, VerifyRequest, VerifyResult
from smartconnect.jobs.obs_dump.naming import ParsedName, parse_key
from smartconnect.jobs.obs_dump.verify.catalog import Catalog, Stored
from smartconnect.kafka.types import TopicPartition
from smartconnect.objectstore import ObjectInfo, ObjectStore, ObjectSummary

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Listing:
    """Lists for one task. `result` counts, `catalog` gets what is the task's own."""

    store: ObjectStore
    task: Task
    request: VerifyRequest
    catalog: Catalog
    result: VerifyResult

    async def under(self, prefix: str) -> AsyncIterator[Finding]:
        """Take in everything under `prefix`, one topic's folder."""
        waiting: list[ObjectSummary] = []
        async for summary in self.store.list_objects(prefix):
            if self.request.since_ms is not None and summary.last_modified_ms < self.request.since_ms:
                continue
            waiting.append(summary)
            if len(waiting) == _AT_ONCE:
                for finding in await self._take(prefix, waiting):
                    yield finding
                waiting = []
        for finding in await self._take(prefix, waiting):
            yield finding

    async def take_key(self, prefix: str, key: str) -> bool:
        """Take in one object that the listing may have missed; False if it is not there."""
        info = await self.store.head(key)
        if info is None:
            return False
        summary = ObjectSummary(key, info.size, info.last_modified_ms)
        parsed = parse_key(key, prefix)
        if parsed is not None and not self.catalog.has(key):
            self._judge(summary, parsed, info)
        return True

    async def _take(self, prefix: str, summaries: list[ObjectSummary]) -> list[Finding]:
        parsed = [parse_key(summary.key, prefix) for summary in summaries]
        infos = await asyncio.gather(*(self._head(s, p) for s, p in zip(summaries, parsed, strict=True)))
        judged = (self._judge(s, p, i) for s, p, i in zip(summaries, parsed, infos, strict=True))
        return [finding for finding in judged if finding is not None]

    async def _head(self, summary: ObjectSummary, parsed: ParsedName | None) -> ObjectInfo | None:
        return None if parsed is None else await self.store.head(summary.key)

    def _judge(self, summary: ObjectSummary, parsed: ParsedName | None, info: ObjectInfo | None) -> Finding | None:
        if parsed is None:
            return _foreign(summary, "its name is none of a dump")
        if info is None:  # a reader took it between listing and asking: its range will show as a gap, as it should
            return None
        task_id = info.metadata.get("sc-task")
        if task_id is not None and task_id != self.task.id:
            self.result.others += 1
            return None
        stored = self._stored(summary, parsed, info.metadata)
        if stored is None:
            return _foreign(summary, "its metadata is none of this task")
        self.catalog.add(stored)
        self.result.objects += 1
        self.result.nbytes += stored.size
        return None

    def _stored(self, summary: ObjectSummary, parsed: ParsedName, metadata: Mapping[str, str]) -> Stored | None:
        numbers = {name: _number(metadata.get(name)) for name in ("sc-run", "sc-start", "sc-end", "sc-count")}
        run, start, end = numbers["sc-run"], numbers["sc-start"], numbers["sc-end"]
        if metadata.get("sc-task") is None or run is None or start is None:
            return None
        if not 1 <= run <= self.task.run or start > parsed.first_offset or (end is not None and end <= start):
            return None
        tp = TopicPartition(parsed.topic, parsed.partition)
        return Stored(tp, run, start, end, numbers["sc-count"], summary.key, summary.size)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _foreign(summary: ObjectSummary, why: str) -> Finding:
    return Finding(FindingKind.FOREIGN, f"{summary.key} was not written by this task: {why}", key=summary.key)
