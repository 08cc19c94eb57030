"""What earlier runs had promised is kept by the first start in a new one (obs-dump.md §10, restart): their prepared uploads become visible,
their entries are dropped, their groups recorded as closed, before anything of the new run is fetched (keys might meet).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from smartconnect.domain.progress import Level
from smartconnect.jobs.obs_dump.committer import Committer
from smartconnect.jobs.obs_dump.connections import open_store
from smartconnect.jobs.obs_dump.entries import NOTHING, Entry, encode
from smartconnect.jobs.obs_dump.finisher import Finished, Finisher
from smartconnect.jobs.obs_dump.incarnation import Incarnation, ReadPosition, group_name
from smartconnect.jobs.obs_dump.steps import Step
from smartconnect.kafka.errors import PartitionsDenied
from smartconnect.kafka.groups import OffsetCommit
from smartconnect.kafka.types import TopicPartition
from smartconnect.objectstore import StoreRefused


async def close_earlier_runs(inc: Incarnation, committer: Committer) -> None:
    """For every earlier run that this unit has not closed: finish, drop, record. One stays open while a topic is hidden, or what was
    promised of one may not be dropped: for the next start, or for when that topic is seen again."""
    runs = await inc.context.ledger.open_runs()
    closed = []
    for run in runs:
        positions = await inc.read_positions(run)
        named = {tp: position for tp, position in positions.items() if position.promise is not None and position.promise.entries}
        give_up(inc, run, await finish_entries(inc, run, named))
        offsets = {tp: OffsetCommit(position.offset, position.leader_epoch, encode(NOTHING)) for tp, position in named.items()}
        with contextlib.suppress(PartitionsDenied):
            await committer.commit_to(group_name(inc.context.task.id, run), run, offsets)
            closed.append(run)
    if closed and not inc.hidden:
        await inc.context.ledger.close_runs(closed)


async def finish_entries(
    inc: Incarnation, run: int, positions: Mapping[TopicPartition, ReadPosition]
) -> dict[TopicPartition, tuple[Entry, ...]]:
    """Make visible what these positions name, in the bucket that they name. The entries that cannot appear any more: their upload was
    removed from the store, or their bucket is gone; each with an event."""
    lost = {}
    for tp, position in positions.items():
        assert position.promise is not None
        missing = tuple([entry for entry in position.promise.entries if not await _appears(inc, run, tp, entry)])
        if missing:
            lost[tp] = missing
    return lost


async def _appears(inc: Incarnation, run: int, tp: TopicPartition, entry: Entry) -> bool:
    event = inc.context.ledger.event
    what = f"object {entry.key} of run {run} did not appear"
    try:
        if entry.bucket == inc.spec.bucket:
            finished = await inc.finisher.finish(entry, run, str(tp), None)
        else:
            obs = inc.resources.directory.obs()
            async with open_store(inc.spec, obs, inc.clock, inc.random, bucket=entry.bucket) as store:
                finisher = Finisher(store, inc.calls, inc.steps, inc.context.task.id)
                finished = await finisher.finish(entry, run, str(tp), None)
    except StoreRefused as refused:
        if refused.store_code != "NoSuchBucket":
            raise
        event(Level.ERROR, "bucket_gone", f"{what}: bucket {entry.bucket} is gone")
        return False
    if finished is Finished.LOST:
        event(Level.ERROR, "lost_upload", f"{what}: its upload was removed from the store")
    return finished is Finished.VISIBLE


def give_up(inc: Incarnation, run: int, lost: Mapping[TopicPartition, tuple[Entry, ...]]) -> None:
    """These entries are dropped with the next commit of their group, or with the group itself."""
    for tp, entries in lost.items():
        for entry in entries:
            inc.steps.note_run(run, Step.SKIP_LOST, partition=str(tp), upload=entry.upload)
