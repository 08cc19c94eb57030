"""One Kafka cluster as one user of it sees it: owns the connections, knows leaders and coordinators, asks again.

Guarantees: connections are made when first needed, one for each (broker, lane), and again after they were lost; a call
that needs a leader, a coordinator or the controller finds it and follows it when it moves, with pauses of 50 ms … 5 s;
errors are sentences that name the cluster. Lanes keep slow calls apart: a fetch or a coordinator never shares a
connection with anything else. Used by `offsets`, `groups`, `transactions`, `admin`, `fetcher`, `produce` and the jobs."""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from smartconnect.domain.errors import ClusterUnreachable
from smartconnect.kafka import messages
from smartconnect.kafka.addresses import parse_addresses
from smartconnect.kafka.codes import COORDINATOR_MOVED, KafkaCode, failure
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.dialing import Dialer, dialer_for, unexpected_end
from smartconnect.kafka.errors import ConnectionLost, refusal
from smartconnect.kafka.messages import Api
from smartconnect.kafka.metadata import LeaderCache, MetadataReader
from smartconnect.kafka.pool import ConnectionPool
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.timing import Clock, Pauses, Random, Timing, TryAgain, persist
from smartconnect.kafka.types import Broker, ClusterMetadata, TopicPartition

GROUP = 0
TRANSACTION = 1
T = TypeVar("T")


class Cluster:
    """Async context manager. `bootstrap_servers` is `host:port,…`; `rack` makes fetches prefer a near replica. `losses` counts connections
    that ended otherwise than by us: where it has grown, a broker may have died."""

    def __init__(
        self,
        bootstrap_servers: str,
        security: KafkaSecurity,
        *,
        client_id: str,
        rack: str = "",
        timing: Timing | None = None,
        clock: Clock = time.monotonic,
        random: Random = random_module.random,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.rack = rack
        self.timing = timing or Timing()
        self.clock, self.random = clock, random
        self._addresses = parse_addresses(bootstrap_servers)
        self._security, self._client_id = security, client_id
        self._pool: ConnectionPool | None = None
        self._reader = MetadataReader()
        self._coordinators: dict[tuple[int, str], int] = {}
        self.leaders = LeaderCache()
        self.losses = 0

    async def __aenter__(self) -> Self:
        self._ready()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; whatever still waits for an answer gets ConnectionLost."""
        if self._pool is not None:
            await self._pool.close()

    def _ready(self) -> ConnectionPool:
        if self._pool is None:
            dialer: Dialer = dialer_for(self._security, self._client_id, self.timing, self.clock, self._lost)
            self._pool = ConnectionPool(dialer, self.bootstrap_servers, self._addresses, self.random)
        return self._pool

    def _lost(self) -> None:
        self.losses += 1

    # Metadata

    async def metadata(self, topics: Collection[str] | None, *, operations: bool = False) -> ClusterMetadata:
        """The cluster and these topics (None: all). Topics are never created by asking. An answer equal to the one
        before is the same object, so that refreshing costs next to nothing. `operations` asks for our ACL rights."""
        return await self.persist(lambda: self._metadata(topics, operations))

    async def _metadata(self, topics: Collection[str] | None, operations: bool) -> ClusterMetadata:
        connection = await self._ready().any()
        try:
            found = await self._reader.read(connection, topics, operations)
        except ConnectionLost as lost:
            if self._ready().brokers:
                raise
            raise unexpected_end(self._security, lost) from lost  # a listener with logins lets everybody ask for its versions
        self._ready().learn(found.brokers.values())
        self.leaders.learn(found, self.clock(), everything=topics is None)
        return found

    async def leaders_of(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """(leader node, leader epoch) of each partition that has a leader now; the others are left out. From the
        cache, or from one Metadata call for the topics that it lacks."""
        wanted = list(partitions)
        stale = self.clock() - self.timing.metadata_age_s
        missing = {tp.topic for tp in wanted if self.leaders.get(tp, stale) is None}
        if missing:
            await self.metadata(missing)
        known = ((tp, self.leaders.get(tp, stale)) for tp in wanted)
        return {tp: leader for tp, leader in known if leader is not None}

    # Connections

    async def connection(self, node_id: int, lane: str = "control") -> Connection:
        """The connection to a broker in a lane; made when there is none. ClusterUnreachable where it cannot be."""
        pool = self._ready()
        if not pool.knows(node_id):
            await self._metadata([], False)
        return await pool.get(node_id, lane)

    async def any_connection(self) -> Connection:
        """The sticky connection for what any broker can answer."""
        return await self._ready().any()

    async def dial(self, node_id: int) -> Connection:
        """A new connection that belongs to the caller alone, who closes it."""
        pool = self._ready()
        if not pool.knows(node_id):
            await self._metadata([], False)
        return await pool.dial(node_id)

    def broker(self, node_id: int) -> Broker | None:
        """What is known about a broker."""
        return self._ready().brokers.get(node_id)

    # Calls

    def persist(self, attempt: Callable[[], Awaitable[T]], *, timing: Timing | None = None) -> Awaitable[T]:
        """`timing.persist` with this cluster's patience, clock and randomness."""
        return persist(attempt, timing=timing or self.timing, clock=self.clock, random=self.random)

    def pauses(self, shortest_s: float, longest_s: float) -> Pauses:
        """Growing pauses with this cluster's randomness."""
        return Pauses(shortest_s, longest_s, self.random)

    async def call_any(self, api: Api, fields: Mapping[str, object]) -> Any:
        """Ask any broker, again until one answers."""

        async def attempt() -> Any:
            return await (await self._ready().any()).call(api, fields)

        return await self.persist(attempt)

    async def call_controller(self, api: Api, fields: Mapping[str, object]) -> Any:
        """Ask the controller, or the broker that stands for it (KRaft). The answer's codes are the caller's."""
        found = await self.metadata([])
        if found.controller < 0:
            return await self.call_any(api, fields)
        return await (await self.connection(found.controller)).call(api, fields)

    async def coordinator(self, kind: int, key: str) -> Connection:
        """The connection to the coordinator of a group (GROUP) or transactional id (TRANSACTION): own lanes."""
        node_id = self._coordinators.get((kind, key))
        if node_id is None:
            node_id = await self.persist(lambda: self._find_coordinator(kind, key))
            self._coordinators[kind, key] = node_id
        return await self.connection(node_id, "transactions" if kind == TRANSACTION else "groups")

    def forget_coordinator(self, kind: int, key: str) -> None:
        """Look it up again before the next call: it has moved or does not answer."""
        self._coordinators.pop((kind, key), None)

    async def _find_coordinator(self, kind: int, key: str) -> int:
        connection = await self._ready().any()
        batched = connection.version(messages.FIND_COORDINATOR) >= 4
        names = {"coordinator_keys": [key]} if batched else {"key": key}
        answer = await connection.call(messages.FIND_COORDINATOR, {"key_type": kind, **names})
        entry = answer.coordinators[0] if batched else answer
        doing = f"find the coordinator of {'transactional id' if kind == TRANSACTION else 'group'} {key!r}"
        code = failure(entry.error_code)
        if code in COORDINATOR_MOVED or code is KafkaCode.UNKNOWN_SERVER_ERROR:
            raise TryAgain(doing, code)
        if code is not None:
            raise refusal(doing, code, entry.error_message)
        self._ready().learn([Broker(entry.node_id, entry.host, entry.port, None)])
        return int(entry.node_id)

    async def call_coordinator(self, kind: int, key: str, api: Api, fields: Mapping[str, object]) -> Any:
        """Ask a coordinator once. A connection that fails makes the next call look it up again."""
        connection = await self.coordinator(kind, key)
        try:
            return await connection.call(api, fields)
        except (ClusterUnreachable, OSError):
            self.forget_coordinator(kind, key)
            raise
        finally:
            if connection.closed:
                self.forget_coordinator(kind, key)
