"""What earlier runs had promised is kept by the first start in a new one (obs-dump.md §10, restart): their prepared uploads become visible,
their entries are dropped, their groups recorded as closed, before anything of the new run is fetched (keys might meet).
"""

from __future__ import annotations

from collections.abc import Mapping

from smartconnect.domain.progress import Level
from smartconnect.jobs.obs_dump.committer import Committer
from smartconnect.jobs.obs_dump.connections import open_store
from smartconnect.jobs.obs_dump.entries import Entry
from smartconnect.jobs.obs_dump.finisher import Finished, Finisher
from smartconnect.jobs.obs_dump.incarnation import Incarnation, ReadPosition, group_name
from smartconnect.kafka.groups import OffsetCommit
from smartconnect.kafka.types import TopicPartition
from smartconnect.objectstore import StoreRefused


async def close_earlier_runs(inc: Incarnation, committer: Committer) -> None:
    """For every earlier run that this unit has not closed: finish, drop, record."""
    runs = await inc.context.ledger.open_runs()
    for run in runs:
        positions = await inc.read_positions(run)
        named = {tp: position for tp, position in positions.items() if position.promise is not None and position.promise.entries}
        await finish_entries(inc, run, named)
        if named:
            offsets = {tp: OffsetCommit(position.offset, position.leader_epoch) for tp, position in named.items()}
            await committer.commit_to(group_name(inc.context.task.id, run), run, offsets)
    if runs:
        await inc.context.ledger.close_runs(runs)


async def finish_entries(inc: Incarnation, run: int, positions: Mapping[TopicPartition, ReadPosition]) -> None:
    """Make visible what these positions name, in the bucket that they name; given up, with an event, where that bucket is gone."""
    for tp, position in positions.items():
        assert position.promise is not None
        for entry in position.promise.entries:
            await _finish(inc, run, tp, entry)


async def _finish(inc: Incarnation, run: int, tp: TopicPartition, entry: Entry) -> None:
    event = inc.context.ledger.event
    lost = f"object {entry.key} of run {run} did not appear"
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
        event(Level.ERROR, "bucket_gone", f"{lost}: bucket {entry.bucket} is gone")
        return
    if finished is Finished.LOST:
        event(Level.ERROR, "lost_upload", f"{lost}: its upload was removed from the store")
