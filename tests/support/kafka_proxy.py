"""A proxy in front of the brokers of a sandbox cluster that understands frames, so that a test can break one protocol step.

Guarantees that a request a rule does not touch, and its answer, pass unchanged and in order; that an answer is dropped only after
the broker has given it (its effect is done); and that every rule counts its hits. Clients connect to
`KafkaCluster.proxied_servers`. Without TLS only: inside TLS there are no frames to see.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from smartconnect.sandbox.kafka import KafkaCluster
from tests.support.kafka_api import Request, read_request
from tests.support.network import Network, reset_transport
from tests.support.rules import Fate, Gate, Rule, RuleBook, calling, giving, waiting

_LENGTH_SIZE = 4
_BUFFER = 1024 * 1024


@dataclass(slots=True)
class Exchange:
    """A request and, once the broker has answered, its answer (all bytes after the length: correlation id first)."""

    request: Request
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Instead:
    """A verdict: give the client this answer (all bytes after the length)."""

    answer: bytes


Judgement = Fate | Instead
KafkaRule = Rule[Exchange, Judgement]


def _any(_exchange: Exchange) -> bool:
    return True


class KafkaProxy:
    """Rules, counters and the network's state for all brokers of one cluster."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self.cluster = cluster
        self.requests: Counter[int] = Counter()
        """Requests that came, by API key."""
        self.connections = 0
        """Client connections that are open now."""
        self.network = Network()
        self._before: RuleBook[Exchange, Judgement] = RuleBook()
        self._after: RuleBook[Exchange, Judgement] = RuleBook()
        self._servers: list[asyncio.Server] = []
        self._open: set[_Connection] = set()

    @property
    def bootstrap_servers(self) -> str:
        return self.cluster.proxied_servers

    def on_request(self, api_key: int, callback: Callable[[Request], Awaitable[None] | None], count: int | None = 1) -> KafkaRule:
        """Call back when such a request has come, before the broker sees it."""
        return self._before.add(f"on_request {api_key}", _of(api_key), calling(callback, lambda exchange: exchange.request), count)

    def on_answer(self, api_key: int, callback: Callable[[Exchange], Awaitable[None] | None], count: int | None = 1) -> KafkaRule:
        """Call back when the broker has answered, before the client knows."""
        return self._after.add(f"on_answer {api_key}", _of(api_key), calling(callback, lambda exchange: exchange), count)

    def drop_answer(self, api_key: int, count: int | None = 1, then: Fate = Fate.CLOSE) -> KafkaRule:
        """The broker does it, the client never hears of it."""
        return self._after.add(f"drop_answer {api_key}", _of(api_key), giving(then), count)

    def close_before(self, api_key: int, count: int | None = 1, then: Fate = Fate.CLOSE) -> KafkaRule:
        """The broker never sees the request."""
        return self._before.add(f"close_before {api_key}", _of(api_key), giving(then), count)

    def delay(self, api_key: int, seconds: float, count: int | None = None) -> KafkaRule:
        """Each such request reaches the broker later (and so do those behind it on the same connection)."""
        return self._before.add(f"delay {api_key}", _of(api_key), waiting(seconds), count)

    def hold_request(self, api_key: int, count: int | None = 1, *, when: Callable[[Exchange], bool] = _any) -> Gate[Exchange]:
        """Such requests wait before the broker until the gate opens, and so does what follows on their connections."""
        return self._hold(self._before, api_key, count, when)

    def hold_answer(self, api_key: int, count: int | None = 1, *, when: Callable[[Exchange], bool] = _any) -> Gate[Exchange]:
        """The broker has done it; the client hears of it when the gate opens."""
        return self._hold(self._after, api_key, count, when)

    def rewrite_answer(self, api_key: int, rewrite: Callable[[Request, bytes], bytes], count: int | None = 1) -> KafkaRule:
        """Change the broker's answer (all bytes after the length) on its way: error codes, for example."""

        async def action(exchange: Exchange) -> Judgement:
            assert exchange.answer is not None
            return Instead(rewrite(exchange.request, exchange.answer))

        return self._after.add(f"rewrite_answer {api_key}", _of(api_key), action, count)

    def answer_instead(self, api_key: int, answer: Callable[[Request], bytes], count: int | None = 1) -> KafkaRule:
        """Answer such requests ourselves; the broker never sees them. Not while others wait on the same connection."""

        async def action(exchange: Exchange) -> Judgement:
            return Instead(answer(exchange.request))

        return self._before.add(f"answer_instead {api_key}", _of(api_key), action, count)

    async def send_again(self, request: Request) -> bytes:
        """Send an earlier request once more, on a connection of its own: a late duplicate. Gives the broker's answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.cluster.ports[request.node].internal)
        try:
            writer.write(_framed(request.frame))
            return await _read_frame(reader)
        finally:
            writer.close()

    def forget_rules(self) -> None:
        """Let everything pass again, except what a gate already holds."""
        self._before.clear()
        self._after.clear()

    def cut(self) -> None:
        """Reset all connections and every new one, until `heal`."""
        self.network.cut()
        self.reset_connections()

    def blackhole(self) -> None:
        """No byte moves any more; connections stay open and new ones are accepted, until `heal`."""
        self.network.blackhole()

    def heal(self) -> None:
        self.network.heal()

    def reset_connections(self) -> None:
        for connection in list(self._open):
            connection.reset()

    async def start(self) -> None:
        for node, ports in enumerate(self.cluster.ports):
            self._servers.append(await asyncio.start_server(self._handler(node), "127.0.0.1", ports.proxy))

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        self.heal()
        tasks = [connection.task for connection in self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hold(
        self, book: RuleBook[Exchange, Judgement], api_key: int, count: int | None, when: Callable[[Exchange], bool]
    ) -> Gate[Exchange]:
        gate: Gate[Exchange] = Gate()
        is_one = _of(api_key)
        book.add(f"hold {api_key}", lambda exchange: is_one(exchange) and when(exchange), gate.wait, count)
        return gate

    def _handler(self, node: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connection = _Connection(self, node, task, writer)
            self._open.add(connection)
            self.connections += 1
            try:
                await connection.run(reader)
            except asyncio.CancelledError:
                return  # `stop` or `reset`: the streams are aborted below, and nobody waits for this task's outcome
            finally:
                connection.abort()
                self._open.discard(connection)
                self.connections -= 1

        return handle

    async def before(self, exchange: Exchange) -> Judgement | None:
        self.requests[exchange.request.api_key] += 1
        return await self._before.judge(exchange)

    async def after(self, exchange: Exchange) -> Judgement | None:
        return await self._after.judge(exchange)


class _Connection:
    """One client connection and its twin to the broker."""

    def __init__(self, proxy: KafkaProxy, node: int, task: asyncio.Task[None], client: asyncio.StreamWriter) -> None:
        self.task = task
        self._proxy = proxy
        self._node = node
        self._client = client
        self._broker: asyncio.StreamWriter | None = None
        self._waiting: dict[int, Exchange] = {}
        self._silent = False

    async def run(self, reader: asyncio.StreamReader) -> None:
        if self._proxy.network.is_cut:
            return
        await self._proxy.network.moves()
        port = self._proxy.cluster.ports[self._node].proxied
        try:
            answers, self._broker = await asyncio.open_connection("127.0.0.1", port, limit=_BUFFER)
        except OSError:
            return
        pumps = [
            asyncio.create_task(self._requests(reader, self._broker)),
            asyncio.create_task(self._answers(answers)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def reset(self) -> None:
        self.task.cancel()

    def abort(self) -> None:
        for writer in (self._client, self._broker):
            if writer is not None:
                reset_transport(writer.transport)

    async def _requests(self, reader: asyncio.StreamReader, broker: asyncio.StreamWriter) -> None:
        while True:
            frame = await _read_frame(reader)
            exchange = Exchange(read_request(frame, self._node))
            verdict = await self._proxy.before(exchange)
            await self._proxy.network.moves()
            if verdict is Fate.CLOSE:
                return
            if verdict is Fate.HOLD:
                self._silent = True
                continue
            if isinstance(verdict, Instead):
                await self._to_client(verdict.answer)
                continue
            self._waiting[exchange.request.correlation_id] = exchange
            broker.write(_framed(frame))
            await broker.drain()

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        while True:
            answer = await _read_frame(reader)
            exchange = self._waiting.pop(int.from_bytes(answer[:4], "big", signed=True))
            exchange.answer = answer
            verdict = await self._proxy.after(exchange)
            await self._proxy.network.moves()
            if verdict is Fate.CLOSE:
                return
            if verdict is Fate.HOLD:
                self._silent = True
            await self._to_client(verdict.answer if isinstance(verdict, Instead) else answer)

    async def _to_client(self, answer: bytes) -> None:
        if not self._silent:
            self._client.write(_framed(answer))
            await self._client.drain()


def _of(api_key: int) -> Callable[[Exchange], bool]:
    return lambda exchange: exchange.request.api_key == api_key


def _framed(payload: bytes) -> bytes:
    return len(payload).to_bytes(_LENGTH_SIZE, "big") + payload


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(_LENGTH_SIZE), "big")
    return await reader.readexactly(length)


@asynccontextmanager
async def kafka_proxy(cluster: KafkaCluster) -> AsyncIterator[KafkaProxy]:
    """A proxy before all nodes of the cluster, on their advertised proxy ports; one at a time for each cluster."""
    proxy = KafkaProxy(cluster)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
