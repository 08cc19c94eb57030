"""The fake broker's socket: frames in, frames out, one request of a connection after the other, and the faults that a test asks for."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from smartconnect.domain.errors import MalformedData
from smartconnect.kafka.types import TopicPartition
from tests.support.fake_broker.apis import SPOKEN, Unasked
from tests.support.fake_broker.coordinator import Coordinator
from tests.support.fake_broker.log import PartitionLog
from tests.support.fake_broker.producing import Producing
from tests.support.fake_broker.schemas import answer_frame, request_fields
from tests.support.fake_broker.settings import TopicSettings
from tests.support.kafka_api import ApiKey, Request, read_request
from tests.support.network import reset_transport
from tests.support.rules import Fate, Gate, Rule, RuleBook, giving

_CLOSING: Final = {(ApiKey.PRODUCE, version) for version in range(3)}
"""Advertised, and yet a broker closes the connection."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Its partitions are in `FakeBroker.logs`."""

    topic_id: uuid.UUID
    partitions: int


class FakeBroker:
    """`unasked` tells what was refused because no rule covers it; the context fails if there is any."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.host, self.port = "127.0.0.1", 0
        self.topics: dict[str, Topic] = {}
        self.logs: dict[TopicPartition, PartitionLog] = {}
        self.coordinator = Coordinator(self.logs)
        self.producing = Producing(self.logs, self.coordinator)
        self.requests: Counter[int] = Counter()
        self.unasked: list[str] = []
        self._before: RuleBook[Request, Fate] = RuleBook()
        self._after: RuleBook[Request, Fate] = RuleBook()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def bootstrap_servers(self) -> str:
        return f"{self.host}:{self.port}"

    async def make_topic(self, suffix: str = "topic", *, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        """As the fixture `make_topic`; the name is the suffix."""
        settings = TopicSettings.read(config or {})
        self.topics[suffix] = Topic(uuid.uuid4(), partitions)
        self.logs.update({TopicPartition(suffix, number): PartitionLog(settings) for number in range(partitions)})
        return suffix

    # Faults, named as those of `kafka_proxy`

    def drop_answer(self, api_key: int, count: int | None = 1, then: Fate = Fate.CLOSE) -> Rule[Request, Fate]:
        """Do it, and instead of answering close the connection, or go on without a word."""
        return self._after.add(f"drop_answer {api_key}", _of(api_key), giving(then), count)

    def hold_request(self, api_key: int, count: int | None = 1) -> Gate[Request]:
        """Such requests wait until the gate opens, and so does what follows on their connections."""
        return self._hold(self._before, api_key, count)

    def hold_answer(self, api_key: int, count: int | None = 1) -> Gate[Request]:
        """It is done; the client hears of it when the gate opens."""
        return self._hold(self._after, api_key, count)

    async def send_again(self, request: Request) -> None:
        """A late copy of an earlier request arrives; nobody hears its answer."""
        await self._answer(request)

    def _hold(self, book: RuleBook[Request, Fate], api_key: int, count: int | None) -> Gate[Request]:
        gate: Gate[Request] = Gate()
        book.add(f"hold {api_key}", _of(api_key), gate.wait, count)
        return gate

    # Connections

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the client goes, a rule ends it or a request is not to be answered."""
        self._writers.add(writer)
        silent = False
        try:
            while True:
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                request = read_request(frame, 0)
                self.requests[request.api_key] += 1
                await self._before.judge(request)
                answer = await self._answer(request)
                fate = await self._after.judge(request)
                if answer is None or fate is Fate.CLOSE:
                    return
                silent = silent or fate is Fate.HOLD
                if silent:
                    continue
                writer.write(len(answer).to_bytes(4, "big") + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            self._writers.discard(writer)
            reset_transport(writer.transport)

    async def _answer(self, request: Request) -> bytes | None:
        """All bytes behind the length; None: close the connection."""
        if (request.api_key, request.api_version) in _CLOSING:
            return None
        known, version = SPOKEN.get(request.api_key), request.api_version
        if known is None or version not in known.answered:
            self.unasked.append(f"API {request.api_key} in version {version}")
            return None
        try:
            fields = known.handler(self, version, request_fields(known.api, request))
            if not isinstance(fields, Mapping):
                fields = await fields
        except (Unasked, MalformedData, ValueError, KeyError) as error:
            self.unasked.append(f"{known.api.name} v{version}: {error!r}")
            return None
        return answer_frame(known.api, request, fields)

    async def kill_and_start(self) -> None:
        """Gone and there again, on the same port: connections end, and of producers little is remembered."""
        self.hang_up()
        for log in self.logs.values():
            log.killed()

    def hang_up(self) -> None:
        """End all connections."""
        for writer in list(self._writers):
            reset_transport(writer.transport)


def _of(api_key: int) -> Callable[[Request], bool]:
    return lambda request: request.api_key == api_key


@asynccontextmanager
async def fake_broker(now_ms: Callable[[], int] = lambda: int(time.time() * 1000)) -> AsyncIterator[FakeBroker]:
    """A broker on a port of this machine; AssertionError if it was asked anything that no rule covers."""
    broker = FakeBroker(now_ms)
    server = await asyncio.start_server(broker.serve, broker.host, 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        broker.hang_up()
    assert broker.unasked == [], broker.unasked
