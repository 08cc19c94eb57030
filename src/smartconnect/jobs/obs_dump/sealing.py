"""From an open object to a prepared upload: parts leave while it is open, the last one when it is sealed; with the last ETag it is prepared
and may be committed (obs-dump.md §2, stream, cut, P1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from smartconnect.domain.progress import Level
from smartconnect.jobs.obs_dump.assembler import CutCause
from smartconnect.jobs.obs_dump.committer import Committer
from smartconnect.jobs.obs_dump.incarnation import Incarnation
from smartconnect.jobs.obs_dump.partition import OpenObject, Partition, SealedObject
from smartconnect.jobs.obs_dump.steps import Step
from smartconnect.jobs.obs_dump.uploads import ObjectUpload, WishedName
from smartconnect.objectstore import KeyRefused, NoSuchUpload
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import DUMP_CUTS

_REST_S = (30.0, 300.0)


class Sealer:
    """`on_failure` hears of a partition whose upload is lost before its commit, and for how many seconds it should rest."""

    def __init__(self, inc: Incarnation, committer: Committer, on_failure: Callable[[Partition, float], None]) -> None:
        self._inc, self._committer, self._on_failure = inc, committer, on_failure
        self._older_until = inc.names.time_dir(inc.clock.wall())
        self._refusals: Counter[Partition] = Counter()

    def names_may_be_taken(self) -> None:
        """A topic was made again: up to now's directory, names may be in use."""
        self._older_until = self._inc.names.time_dir(self._inc.clock.wall())

    def stream(self, partition: Partition, at_least: int) -> None:
        """Send what the open object has as a part, if that is `at_least` bytes. It ends at a record's end."""
        target = partition.open
        if target is None or target.buffer.length < max(1, at_least):
            return
        target.upload = target.upload or self._upload(partition, target)
        target.streamed += target.buffer.length
        target.upload.add_part(target.buffer.take())

    def seal(self, partition: Partition, cause: CutCause) -> None:
        """The open object ends here; what is left of it leaves, and the committer hears of it when all ETags are there."""
        target = partition.open
        if target is None:
            return
        upload = target.upload or self._upload(partition, target)
        whole = None if target.upload else {"sc-end": str(target.end), "sc-count": str(target.records)}
        sealed = SealedObject(target.start, target.end, target.leader_epoch, target.records, target.size, upload)
        if target.buffer.length:
            upload.add_part(target.buffer.take(), whole)
        partition.open, partition.next_start = None, target.end
        partition.sealed.append(sealed)
        PROCESS_METERS.add(DUMP_CUTS, 1, (self._inc.context.task.id, cause.value))
        self._inc.crew.spawn(self._prepare(partition, sealed), f"prepare {partition.tp}")

    def rewind(self, partition: Partition) -> None:
        """Forget what is not committed of a partition; its uploads are left to the janitor."""
        for dropped in partition.forget_uncommitted():
            if isinstance(dropped, OpenObject):
                dropped.buffer.clear()
            if dropped.upload is not None:
                dropped.upload.forget()
        self._inc.steps.note(Step.REWIND, partition=str(partition.tp))

    async def _prepare(self, partition: Partition, sealed: SealedObject) -> None:
        if not await sealed.upload.all_sent():
            return
        sealed.entry = sealed.upload.entry(self._inc.spec.bucket, sealed.start, sealed.end)
        self._refusals.pop(partition, None)
        self._inc.steps.note(
            Step.SEAL, partition=str(partition.tp), upload=sealed.upload.upload_id, start=sealed.start, offset=sealed.end
        )
        self._committer.want(partition)

    def _upload(self, partition: Partition, target: OpenObject) -> ObjectUpload:
        inc = self._inc
        time_dir = inc.names.time_dir(target.wall)
        key = inc.names.key(partition.tp.topic, partition.tp.partition, target.first_offset, time_dir)
        metadata = object_metadata(inc, target.start)
        name = WishedName(key, metadata, may_be_taken=time_dir <= self._older_until)
        return ObjectUpload(inc.uploads, partition.tp, name, lambda error: self._failed(partition, error))

    def _failed(self, partition: Partition, error: Exception) -> None:
        if isinstance(error, NoSuchUpload):
            self._inc.context.ledger.event(Level.WARNING, "upload_gone", f"{error}; {partition.tp} goes back to its position")
            self._on_failure(partition, 0.0)
        elif isinstance(error, KeyRefused):
            shortest, longest = _REST_S
            rest = min(longest, shortest * 2 ** self._refusals[partition])
            self._refusals[partition] += 1
            self._inc.context.ledger.event(Level.ERROR, "key_refused", f"{partition.tp}: {error}; tried again in {rest:.0f} s")
            self._on_failure(partition, rest)
        else:
            self._inc.crew.fail(error)


def object_metadata(inc: Incarnation, start: int) -> dict[str, str]:
    """User metadata of every object (obs-dump.md §6)."""
    return {"sc-task": inc.context.task.id, "sc-run": str(inc.context.task.run), "sc-start": str(start)}
