"""Offsets of many consumer groups with one question to each coordinator (OffsetFetch v8, KIP-709), for whoever asks about all groups of a
cluster again and again. Kafka tells of no change by itself: every group has to be asked about, but not one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeVar

from smartconnect.domain.errors import ClusterUnreachable, PermissionMissing
from smartconnect.kafka import messages
from smartconnect.kafka.cluster import GROUP, Cluster
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.errors import BrokerRefused, ConnectionLost
from smartconnect.kafka.groups import GroupOffsets, fetch_offsets, offsets_in
from smartconnect.kafka.timing import TryAgain

GROUPS_OF_QUESTION: Final = 100
_AT_A_TIME: Final = 16
_FIRST_OF_MANY: Final = 8

T = TypeVar("T")
Told = GroupOffsets | BrokerRefused | PermissionMissing
"""What a broker says of one group: its offsets, or why it refuses to tell them."""


async def fetch_offsets_of(cluster: Cluster, groups: Collection[str]) -> dict[str, Told]:
    """The committed offsets of each group, also those that an undecided transaction may change. Raises what concerns all of them: the
    cluster does not answer."""
    names = list(groups)
    coordinators = await _in_turns(names, lambda group: _coordinator(cluster, group))
    shares: dict[Connection, list[str]] = {}
    for group, connection in coordinators.items():
        if connection is not None and connection.version(messages.OFFSET_FETCH) >= _FIRST_OF_MANY:
            shares.setdefault(connection, []).append(group)
    found: dict[str, Told] = {}
    for connection, share in shares.items():
        for at in range(0, len(share), GROUPS_OF_QUESTION):
            found |= await _ask(cluster, connection, share[at : at + GROUPS_OF_QUESTION])
    return found | await _in_turns([group for group in names if group not in found], lambda group: _singly(cluster, group))


async def _in_turns(groups: Sequence[str], of_one: Callable[[str], Awaitable[T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for at in range(0, len(groups), _AT_A_TIME):
        part = groups[at : at + _AT_A_TIME]
        found |= zip(part, await asyncio.gather(*map(of_one, part)), strict=True)
    return found


async def _coordinator(cluster: Cluster, group: str) -> Connection | None:
    """None where it cannot be reached now, or is refused: asked singly that is seen to."""
    try:
        return await cluster.coordinator(GROUP, group)
    except (ClusterUnreachable, ConnectionLost, BrokerRefused, PermissionMissing):
        return None


async def _ask(cluster: Cluster, connection: Connection, groups: Sequence[str]) -> Mapping[str, GroupOffsets]:
    """Offsets of those that the coordinator can tell; the others are left out."""
    fields = {"require_stable": False, "groups": [{"group_id": group, "topics": None} for group in groups]}
    found: dict[str, GroupOffsets] = {}
    try:
        answer = await connection.call(messages.OFFSET_FETCH, fields)
    except (ClusterUnreachable, ConnectionLost):
        return found
    for of_group in answer.groups:
        try:
            found[of_group.group_id] = offsets_in(cluster, of_group.group_id, of_group)
        except (TryAgain, BrokerRefused, PermissionMissing):
            continue
    return found


async def _singly(cluster: Cluster, group: str) -> Told:
    try:
        return await fetch_offsets(cluster, group, require_stable=False)
    except (BrokerRefused, PermissionMissing) as refused:
        return refused
