"""After the commit point: named uploads become visible, in offset order for each partition (obs-dump.md §2 P3, P4, §3).

An entry that is visible is left out of the partition's next commit, or of one made for it within a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from smartconnect.domain.errors import Retryable
from smartconnect.domain.obs_dump_spec import OnLostUpload
from smartconnect.domain.progress import Level
from smartconnect.domain.task import Reason
from smartconnect.jobs.obs_dump.committer import Committer
from smartconnect.jobs.obs_dump.finisher import Finished
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import Partition, PendingEntry
from smartconnect.jobs.obs_dump.redelivery import Redelivery
from smartconnect.jobs.obs_dump.rests import Rests
from smartconnect.jobs.obs_dump.steps import Step
from smartconnect.objectstore import KeyRefused, Part
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import DUMP_PUBLISH

_DROP_WITHIN_S = 1.0
_REST_S = (30.0, 300.0)


class Publisher:
    """`on_progress` hears of a partition whenever one of its entries has become visible."""

    def __init__(self, inc: Incarnation, committer: Committer, rests: Rests, on_progress: Callable[[Partition], None]) -> None:
        self._inc, self._committer, self._on_progress = inc, committer, on_progress
        self._redelivery = Redelivery(inc, rests)

    def publish(self, partition: Partition) -> None:
        """Finish what the partition's position names, beside everything else; one task for each partition. Not before the replacement of a
        lost upload is committed: until then it would be found lost again."""
        unfinished = any(not pending.done for pending in partition.pending)
        if unfinished and not partition.publishing and not partition.replacements:
            partition.publishing = True
            self._inc.crew.spawn(self._publish(partition), f"publish {partition.tp}")

    async def _publish(self, partition: Partition) -> None:
        try:
            while (pending := next((p for p in partition.pending if not p.done), None)) is not None:
                if self._inc.spec.bucket != pending.entry.bucket:
                    raise Retryable(
                        f"entry of {partition.tp} names bucket {pending.entry.bucket}, the task another", code="foreign_bucket"
                    )
                began = self._inc.clock.monotonic()
                parts = pending.upload.ordered_parts() if pending.upload is not None else None
                finished = await self._finish(partition, pending, parts)
                if finished is Finished.LOST and not await self._lost(partition, pending):
                    return
                self._done(partition, pending, visible=finished is Finished.VISIBLE)
                PROCESS_METERS.observe(DUMP_PUBLISH, self._inc.clock.monotonic() - began, (self._inc.context.task.id,))
        finally:
            partition.publishing = False

    async def _finish(self, partition: Partition, pending: PendingEntry, parts: Sequence[Part] | None) -> Finished:
        """Ends only with an answer; a store that refuses this one key stops the partition meanwhile."""
        rest, longest = _REST_S
        ours: Reason | None = None
        while True:
            try:
                finished = await self._inc.finisher.finish(pending.entry, pending.run, str(partition.tp), parts)
            except KeyRefused as refused:
                if partition.stopped is ours:  # what else stops it stays
                    partition.stopped = ours = Reason(refused.code, str(refused), since=self._inc.clock.now_ms())
                await asyncio.sleep(rest)
                rest = min(longest, rest * 2)
            else:
                if partition.stopped is ours:
                    partition.stopped = None
                return finished

    def _done(self, partition: Partition, pending: PendingEntry, *, visible: bool) -> None:
        pending.done = True
        if pending.upload is not None:
            pending.upload.forget()
        if visible:
            self._inc.counters["objects"] += 1
            self._inc.counters["bytes_out"] += pending.entry.size
            self._inc.counters["records_out"] += pending.records
        asyncio.get_running_loop().call_later(_DROP_WITHIN_S, self._committer.want, partition)
        self._on_progress(partition)

    async def _lost(self, partition: Partition, pending: PendingEntry) -> bool:
        """A prepared upload is gone and its object is not there (F1, F2). True: the entry is given up; False: its replacement was
        prepared, the commit that names it publishes again."""
        entry, ledger = pending.entry, self._inc.context.ledger
        what = f"prepared upload of {partition.tp} [{entry.start}, {entry.end}) was removed from the store before it became visible"
        if self._inc.spec.options.on_lost_upload is OnLostUpload.SKIP:
            self._inc.steps.note(Step.SKIP_LOST, partition=str(partition.tp), upload=entry.upload)
            ledger.event(Level.ERROR, "lost_upload", f"{what}; its records are skipped")
            return True
        ledger.event(Level.WARNING, "lost_upload", f"{what}; its records are read and uploaded again")
        replacement = await self._redelivery.prepare(partition, pending)
        if replacement is None:
            self._inc.steps.note(Step.SKIP_LOST, partition=str(partition.tp), upload=entry.upload)
            return True
        partition.replacements.append(replacement)
        self._committer.want(partition)
        return False
