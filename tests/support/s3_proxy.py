"""A proxy in front of the sandbox's S3 server that knows the operations, so that a test can break one step of an upload.

Guarantees that a request no rule touches, and its answer, pass unchanged (path, query, headers as the client signed them, `Host`
included; bodies are streamed), that an answer is dropped or replaced only after the server has given it (its effect is
done), and that every rule counts its hits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from yarl import URL

from smartconnect.sandbox.ports import free_port
from smartconnect.sandbox.s3 import S3Server
from tests.support.network import Network, reset_transport
from tests.support.rules import Fate, Gate, Rule, RuleBook, calling, giving, waiting
from tests.support.s3_answers import Answer
from tests.support.s3_operations import Operation, S3Request, recognise

_CHUNK = 64 * 1024
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "expect"}
_NEVER_ADDED = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")


@dataclass(slots=True)
class Exchange:
    """A request and, once the server has answered, the status of its answer."""

    request: S3Request
    status: int | None = None


@dataclass(frozen=True, slots=True)
class ResetAfter:
    """A verdict: let so many bytes of the body pass, then reset the connection."""

    passed: int


@dataclass(frozen=True, slots=True)
class Drip:
    """A verdict: let the body pass, but only so fast."""

    bytes_per_s: float


Judgement = Fate | Answer | ResetAfter | Drip
S3Rule = Rule[Exchange, Judgement]


class S3Proxy:
    """Rules, counters and the network's state for one S3 server."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self.port = free_port()
        self.requests: Counter[Operation] = Counter()
        self.answers: Counter[tuple[Operation, int]] = Counter()
        """Answers of the server (not ours), by operation and status."""
        self.network = Network()
        self._before: RuleBook[Exchange, Judgement] = RuleBook()
        self._after: RuleBook[Exchange, Judgement] = RuleBook()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.ServerRunner | None = None
        self._transports: set[asyncio.BaseTransport] = set()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on_request(
        self, operation: Operation, callback: Callable[[S3Request], Awaitable[None] | None], count: int | None = 1
    ) -> S3Rule:
        """Call back when such a request has come, before the server sees it."""
        return self._before.add(
            f"on_request {operation}", _of(operation), calling(callback, lambda exchange: exchange.request), count
        )

    def on_answer(
        self, operation: Operation, callback: Callable[[Exchange], Awaitable[None] | None], count: int | None = 1
    ) -> S3Rule:
        """Call back when the server has answered, before the client knows."""
        return self._after.add(f"on_answer {operation}", _of(operation), calling(callback, lambda exchange: exchange), count)

    def drop_answer(self, operation: Operation, count: int | None = 1, then: Fate = Fate.CLOSE) -> S3Rule:
        """The server does it, the client never hears of it."""
        return self._after.add(f"drop_answer {operation}", _of(operation), giving(then), count)

    def close_before(self, operation: Operation, count: int | None = 1, then: Fate = Fate.CLOSE) -> S3Rule:
        """The server never sees the request."""
        return self._before.add(f"close_before {operation}", _of(operation), giving(then), count)

    def refuse(self, operation: Operation, answer: Answer, count: int | None = 1) -> S3Rule:
        """Answer ourselves; the server never sees the request. Storms, 403, redirects: see `s3_answers`."""
        return self._before.add(f"refuse {operation}", _of(operation), giving(answer), count)

    def replace_answer(self, operation: Operation, answer: Answer, count: int | None = 1) -> S3Rule:
        """The server does it, the client is told something else."""
        return self._after.add(f"replace_answer {operation}", _of(operation), giving(answer), count)

    def reset_request(self, operation: Operation, after_bytes: int, count: int | None = 1) -> S3Rule:
        """Reset both sides when so much of the request's body has passed."""
        return self._before.add(f"reset_request {operation}", _of(operation), giving(ResetAfter(after_bytes)), count)

    def reset_answer(self, operation: Operation, after_bytes: int, count: int | None = 1) -> S3Rule:
        """Reset the client's side when so much of the answer's body has passed."""
        return self._after.add(f"reset_answer {operation}", _of(operation), giving(ResetAfter(after_bytes)), count)

    def drip_request(self, operation: Operation, bytes_per_s: float, count: int | None = None) -> S3Rule:
        """Let the request's body through slowly."""
        return self._before.add(f"drip_request {operation}", _of(operation), giving(Drip(bytes_per_s)), count)

    def drip_answer(self, operation: Operation, bytes_per_s: float, count: int | None = None) -> S3Rule:
        """Let the answer's body through slowly."""
        return self._after.add(f"drip_answer {operation}", _of(operation), giving(Drip(bytes_per_s)), count)

    def delay(self, operation: Operation, seconds: float, count: int | None = None) -> S3Rule:
        """Each such request reaches the server later."""
        return self._before.add(f"delay {operation}", _of(operation), waiting(seconds), count)

    def hold_request(self, operation: Operation, count: int | None = 1) -> Gate[Exchange]:
        """Such requests wait before the server until the gate opens."""
        return _hold(self._before, operation, count)

    def hold_answer(self, operation: Operation, count: int | None = 1) -> Gate[Exchange]:
        """The server has done it; the client hears of it when the gate opens."""
        return _hold(self._after, operation, count)

    def forget_rules(self) -> None:
        """Let everything pass again, except what a gate already holds."""
        self._before.clear()
        self._after.clear()

    def cut(self) -> None:
        """Reset all connections and every new request, until `heal`."""
        self.network.cut()
        for transport in list(self._transports):
            reset_transport(transport)

    def blackhole(self) -> None:
        """No byte moves any more; connections stay open and new ones are accepted, until `heal`."""
        self.network.blackhole()

    def heal(self) -> None:
        self.network.heal()

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # no stale connection to a killed server
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._handle), handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        self.heal()
        for transport in list(self._transports):
            reset_transport(transport)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client left")
        self._transports.add(transport)
        try:
            return await self._pass(request)
        except (aiohttp.ClientError, ConnectionError):
            reset_transport(transport)
            return web.Response(status=502)  # nobody hears it: the connection is gone
        finally:
            self._transports.discard(transport)

    async def _pass(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.network.is_cut:
            raise ConnectionResetError("the network is cut")
        headers = {name.lower(): value for name, value in request.headers.items()}
        exchange = Exchange(recognise(request.method, request.host, request.path, dict(request.query), headers))
        self.requests[exchange.request.operation] += 1
        verdict = await self._before.judge(exchange)
        await self.network.moves()
        if isinstance(verdict, Answer):
            await _drain(request)
            return _response(verdict)
        if isinstance(verdict, Fate):
            return await self._end(verdict)
        async with self._forward(request, verdict) as answer:
            exchange.status = answer.status
            self.answers[exchange.request.operation, answer.status] += 1
            after = await self._after.judge(exchange)
            await self.network.moves()
            if isinstance(after, Answer):
                return _response(after)
            if isinstance(after, Fate):
                return await self._end(after)
            return await self._answer(request, answer, after)

    @asynccontextmanager
    async def _forward(self, request: web.BaseRequest, verdict: Judgement | None) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        _ask_for_body(request)
        body = self._limited(request.content, verdict) if request.body_exists else None
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP]
        async with self._session.request(
            request.method,
            URL(self.server.endpoint + request.raw_path, encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
            skip_auto_headers=_NEVER_ADDED,
        ) as answer:
            yield answer

    async def _answer(
        self, request: web.BaseRequest, answer: aiohttp.ClientResponse, verdict: Judgement | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                response.headers.add(name, value)
        await response.prepare(request)
        async for chunk in self._limited(answer.content, verdict):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _limited(self, body: aiohttp.StreamReader, verdict: Judgement | None) -> AsyncIterator[bytes]:
        passed = 0
        async for chunk in body.iter_chunked(_CHUNK):
            await self.network.moves()
            if isinstance(verdict, Drip):
                await asyncio.sleep(len(chunk) / verdict.bytes_per_s)
            if isinstance(verdict, ResetAfter) and passed + len(chunk) > verdict.passed:
                yield chunk[: verdict.passed - passed]
                raise ConnectionResetError("a rule resets the connection here")
            passed += len(chunk)
            yield chunk

    async def _end(self, fate: Fate) -> web.StreamResponse:
        if fate is Fate.HOLD:
            await asyncio.Event().wait()
        raise ConnectionResetError("a rule closes the connection here")


async def _drain(request: web.BaseRequest) -> None:
    _ask_for_body(request)
    async for _ in request.content.iter_chunked(_CHUNK):
        pass


def _ask_for_body(request: web.BaseRequest) -> None:
    """Clients such as botocore wait for this before they send the body of a PUT."""
    if request.headers.get("Expect", "").lower() == "100-continue" and isinstance(request.transport, asyncio.WriteTransport):
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _response(answer: Answer) -> web.StreamResponse:
    return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))


def _of(operation: Operation) -> Callable[[Exchange], bool]:
    return lambda exchange: operation in (Operation.ANY, exchange.request.operation)


def _hold(book: RuleBook[Exchange, Judgement], operation: Operation, count: int | None) -> Gate[Exchange]:
    gate: Gate[Exchange] = Gate()
    book.add(f"hold {operation}", _of(operation), gate.wait, count)
    return gate


@asynccontextmanager
async def s3_proxy(server: S3Server) -> AsyncIterator[S3Proxy]:
    """A proxy before the server, on a port of its own. It speaks plain HTTP on both sides."""
    proxy = S3Proxy(server)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
