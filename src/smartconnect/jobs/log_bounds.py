"""Where the log of a partition begins and ends now, and whether a position that somebody asks for lies in it. Used by `smart-connect
positions` of every kind of task that keeps positions by partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from smartconnect.domain.errors import SmartConnectError
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.offsets import EARLIEST, LATEST, READ_COMMITTED, list_offsets
from smartconnect.kafka.types import TopicPartition


class PositionRefused(SmartConnectError):
    """The position cannot be where it was asked to be; the sentence says where it can."""

    code = "position_refused"


async def bounds(cluster: Cluster, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int | None, int | None]]:
    """(log start, last stable offset) of each partition, None where the cluster does not have it or it has no leader now."""
    starts = await list_offsets(cluster, dict.fromkeys(tps, EARLIEST), READ_COMMITTED)
    ends = await list_offsets(cluster, dict.fromkeys(tps, LATEST), READ_COMMITTED)
    return {tp: (_known(starts[tp].offset), _known(ends[tp].offset)) for tp in tps}


async def wanted_offset(cluster: Cluster, tp: TopicPartition, wanted: int | None) -> tuple[int, int]:
    """(offset to go to, the log's end); `wanted` None: the end. PositionRefused."""
    start, end = (await bounds(cluster, [tp]))[tp]
    if start is None or end is None:
        raise PositionRefused(f"the instance has no partition {tp}, or it has no leader now")
    if wanted is None:
        return end, end
    if not start <= wanted <= end:
        raise PositionRefused(f"{tp} has offsets {start} to {end}: {wanted} is not between them")
    return wanted, end


def _known(offset: int) -> int | None:
    return offset if offset >= 0 else None
