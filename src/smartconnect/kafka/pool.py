"""The connections of one cluster: one for each (broker, lane), and one sticky connection for what any broker can answer.

Guarantees: two callers never dial the same connection twice; a broker that could not be reached is not dialled again
before a short pause is over, whoever asks. Used by `cluster` alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from smartconnect.domain.errors import AuthenticationFailed, ClusterUnreachable
from smartconnect.kafka.connection import Connection
from smartconnect.kafka.dialing import Dialer
from smartconnect.kafka.timing import Pauses, Random
from smartconnect.kafka.types import Broker


class _Place:
    """One (broker, lane): its connection, and when it may be dialled again after a failure."""

    def __init__(self, pauses: Pauses) -> None:
        self.lock = asyncio.Lock()
        self.connection: Connection | None = None
        self.pauses = pauses
        self.not_before = 0.0
        self.failure: ClusterUnreachable | AuthenticationFailed | None = None


class ConnectionPool:
    """`brokers` is what the cluster advertised last; addresses given by the user remain the way back in."""

    def __init__(self, dialer: Dialer, name: str, addresses: list[tuple[str, int]], random: Random) -> None:
        self.brokers: dict[int, Broker] = {}
        self._dialer, self._name, self._addresses, self._random = dialer, name, addresses, random
        self._places: dict[tuple[int, str], _Place] = {}
        self._any: Connection | None = None
        self._any_lock = asyncio.Lock()
        self._closed = False

    def learn(self, brokers: Iterable[Broker]) -> None:
        """Remember addresses; a connection to a broker that has moved is closed."""
        for broker in brokers:
            known = self.brokers.get(broker.node_id)
            self.brokers[broker.node_id] = broker
            if known is not None and (known.host, known.port) != (broker.host, broker.port):
                self._forget(broker.node_id)

    def knows(self, node_id: int) -> bool:
        return node_id in self.brokers

    async def get(self, node_id: int, lane: str) -> Connection:
        """The open connection of a lane, or a new one."""
        timing = self._dialer.timing
        place = self._places.get((node_id, lane))
        if place is None:
            pauses = Pauses(timing.shortest_pause_s, timing.longest_pause_s, self._random)
            place = self._places.setdefault((node_id, lane), _Place(pauses))
        if place.connection is not None and not place.connection.closed:
            return place.connection
        async with place.lock:
            if place.connection is None or place.connection.closed:
                place.connection = await self._dial_with_care(place, node_id)
            return place.connection

    async def _dial_with_care(self, place: _Place, node_id: int) -> Connection:
        clock = self._dialer.clock
        if place.failure is not None and clock() < place.not_before:
            raise type(place.failure)(str(place.failure), setting=place.failure.setting)
        try:
            connection = await self.dial(node_id)
        except (ClusterUnreachable, AuthenticationFailed) as error:
            place.failure, place.not_before = error, clock() + place.pauses.next()
            raise
        place.failure = None
        place.pauses.restart()
        return connection

    async def dial(self, node_id: int) -> Connection:
        """A new connection to a broker, outside the lanes."""
        broker = self.brokers.get(node_id)
        if broker is None:
            raise ClusterUnreachable(f"Kafka cluster {self._name} has no broker {node_id} at the moment")
        self._refuse_if_closed()
        return await self._dialer.dial(broker.host, broker.port, f"Kafka broker {node_id}")

    async def any(self) -> Connection:
        """A connection to whichever broker answers: the same one as long as it lives."""
        if self._any is not None and not self._any.closed:
            return self._any
        async with self._any_lock:
            if self._any is None or self._any.closed:
                self._any = await self._dial_somebody()
            return self._any

    async def _dial_somebody(self) -> Connection:
        self._refuse_if_closed()
        known = [(broker.host, broker.port) for broker in self.brokers.values()]
        candidates = list(dict.fromkeys([*known, *self._addresses]))
        candidates.sort(key=lambda _: self._random())
        last: ClusterUnreachable | None = None
        setting = "bootstrap_servers"
        for host, port in candidates:
            try:
                return await self._dialer.dial(host, port, "Kafka broker")
            except ClusterUnreachable as error:
                last, setting = error, error.setting
        raise ClusterUnreachable(f"no broker of the Kafka cluster {self._name} answers: {last}", setting=setting) from last

    def _forget(self, node_id: int) -> None:
        for (node, _), place in self._places.items():
            if node == node_id and place.connection is not None:
                place.connection.close()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ClusterUnreachable(f"the connections to Kafka cluster {self._name} were closed by us")

    async def close(self) -> None:
        self._closed = True
        open_ones = [place.connection for place in self._places.values() if place.connection is not None]
        if self._any is not None:
            open_ones.append(self._any)
        for connection in open_ones:
            connection.close()
        for connection in open_ones:
            await connection.wire.wait_closed()
