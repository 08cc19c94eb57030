"""A connection to one broker that is ready for use: versions negotiated, logged in, throttled as the broker asks.

Guarantees: a version is used that both sides know, or ApiUnsupported names what is missing; at most `MOST_IN_FLIGHT`
requests wait for an answer; after `throttle_time_ms` nothing is sent for that long; a login that expires (KIP-368) is
renewed in place, with nothing in flight. Made by `Dialer.dial`, owned by `cluster` or by a fetch or produce channel."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from smartconnect.kafka import messages
from smartconnect.kafka.errors import ApiUnsupported
from smartconnect.kafka.messages import Api
from smartconnect.kafka.timing import Clock
from smartconnect.kafka.wire import Wire

T = TypeVar("T")

MOST_IN_FLIGHT = 5
LARGE_ANSWER = 32 * 1024
"""Bytes from which decoding takes so long that it leaves the event loop."""
LARGE_REQUEST = 200
"""Elements from which encoding does."""
LONGEST_THROTTLE_S = 60.0
LARGEST_FRAME = (100 << 20) + (1 << 20)


class Connection:
    """`renew_login` is called when `login_lasts_s` (0: for ever) is nearly over; it speaks through `call_unguarded`."""

    def __init__(self, wire: Wire, client_id: str, request_s: float, clock: Clock) -> None:
        self.wire = wire
        self.versions: dict[int, tuple[int, int]] = {}
        self._client_id, self._request_s, self._clock = client_id, request_s, clock
        self._correlation = 0
        self._slots = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._login_lock = asyncio.Lock()
        self._muted_until = 0.0
        self._login: Any = None
        self._login_until = 0.0

    @property
    def closed(self) -> bool:
        return self.wire.closed

    @property
    def peer(self) -> str:
        return self.wire.peer

    def close(self) -> None:
        self.wire.close()

    def supports(self, api: Api) -> bool:
        low, high = self.versions.get(api.key, (0, -1))
        return max(low, api.lowest) <= min(high, api.highest)

    def version(self, api: Api) -> int:
        """The highest version that both sides know."""
        low, high = self.versions.get(api.key, (0, -1))
        best = min(high, api.highest)
        if best < max(low, api.lowest):
            offers = f"offers versions {low} to {high}" if high >= 0 else "does not offer it"
            raise ApiUnsupported(
                f"Kafka's {api.name} is needed in version {api.lowest} to {api.highest}, {self.peer} {offers}. "
                "Kafka 2.5 or later is needed"
            )
        return best

    def keep_login(self, renew: Any, lasts_s: float) -> None:
        """Renew the login by `await renew(self)` before `lasts_s` are over; it returns how long the new one lasts."""
        self._login, self._login_until = renew, self._clock() + lasts_s * 0.85 if lasts_s else 0.0

    def throttle(self, seconds: float) -> None:
        """Send nothing for so long: the broker has muted us and would only let requests pile up."""
        if seconds > 0:
            self._muted_until = self._clock() + min(seconds, LONGEST_THROTTLE_S)

    @property
    def muted_s(self) -> float:
        """Seconds for which nothing will be sent; 0 or less: none."""
        return self._muted_until - self._clock()

    async def call(self, api: Api, fields: Mapping[str, object], *, timeout_s: float | None = None) -> Any:
        """Ask by kafka-python's classes; the answer's fields as attributes. Its error codes are the caller's to read."""
        version = self.version(api)
        body = await self.exchange(api, version, [await encode(api, version, fields)], timeout_s=timeout_s)
        answer = await off_loop(messages.decode, api, version, body, large=len(body) > LARGE_ANSWER)
        self.throttle(getattr(answer, "throttle_time_ms", 0) / 1000)
        return answer

    async def exchange(
        self, api: Api, version: int, parts: Sequence[bytes | bytearray | memoryview], *, timeout_s: float | None = None
    ) -> memoryview:
        """Send an encoded request body, return the encoded answer body: what the hot calls use."""
        return await (await self.submit(api, version, parts, timeout_s=timeout_s))

    async def submit(
        self, api: Api, version: int, parts: Sequence[bytes | bytearray | memoryview], *, timeout_s: float | None = None
    ) -> Awaitable[memoryview]:
        """As `exchange`, but returns as soon as the request is on its way: who submits one after the other keeps order.
        The result is awaited for the answer."""
        await self.ready()
        await self._slots.acquire()
        try:
            answer = self._submit(api, version, parts, timeout_s)
        except BaseException:
            self._slots.release()
            raise
        answer.add_done_callback(self._answered)
        return _body(api, version, answer)

    def _answered(self, answer: asyncio.Future[memoryview]) -> None:
        self._slots.release()

    @property
    def is_ready(self) -> bool:
        """Whether `send` may be called: open, not muted, the login not about to expire."""
        now = self._clock()
        return not self.closed and now >= self._muted_until and (not self._login_until or now < self._login_until)

    async def ready(self) -> None:
        """Until `is_ready`, or it is closed. Who uses `send` has nothing in flight meanwhile: a login is renewed alone."""
        if self._login_until and self._clock() >= self._login_until:
            await self._renew_login()
        if self._muted_until:
            await self._wait_unmuted()

    def send(self, api: Api, version: int, parts: Sequence[bytes | bytearray | memoryview]) -> asyncio.Future[memoryview]:
        """As `submit`, at once: for an owner who shares the connection with nobody, counts what is in flight and asks `is_ready`
        before. The result is the whole answer behind its correlation id (`messages.answer_body`). ConnectionLost."""
        return self._submit(api, version, parts, None)

    async def call_unguarded(self, api: Api, version: int, fields: Mapping[str, object]) -> Any:
        """As `call`, in a version given, for negotiation and login: past throttle, in-flight cap and expiry."""
        answer = self._submit(api, version, [messages.encode(api, version, fields)], None)
        return messages.decode(api, version, await _body(api, version, answer))

    def _submit(
        self, api: Api, version: int, parts: Sequence[bytes | bytearray | memoryview], timeout_s: float | None
    ) -> asyncio.Future[memoryview]:
        self._correlation = correlation = (self._correlation + 1) & 0x7FFFFFFF
        header = messages.request_header(api, version, correlation, self._client_id)
        size = len(header) + sum(len(part) for part in parts)
        head = size.to_bytes(4, "big") + header
        return self.wire.submit(correlation, [head, *parts], timeout_s or self._request_s)

    async def _wait_unmuted(self) -> None:
        if (pause := self.muted_s) > 0:
            await asyncio.sleep(pause)
        if self.muted_s <= 0:
            self._muted_until = 0.0

    async def _renew_login(self) -> None:
        """Log in again with nothing in flight: the broker reads whatever follows the handshake as part of the login."""
        async with self._login_lock:
            if self._clock() < self._login_until:
                return
            for _ in range(MOST_IN_FLIGHT):
                await self._slots.acquire()
            try:
                self.keep_login(self._login, await self._login(self))
            finally:
                for _ in range(MOST_IN_FLIGHT):
                    self._slots.release()


async def _body(api: Api, version: int, answer: asyncio.Future[memoryview]) -> memoryview:
    return messages.answer_body(api, version, await answer)


async def encode(api: Api, version: int, fields: Mapping[str, object]) -> bytes:
    """A request body; one about hundreds of things is made outside the event loop."""
    return await off_loop(messages.encode, api, version, fields, large=_elements(fields) > LARGE_REQUEST)


def _elements(fields: Mapping[str, object]) -> int:
    """Elements of all lists in a request's fields."""
    count = 0
    for value in fields.values():
        if isinstance(value, list):
            count += len(value)
            if value and isinstance(value[0], Mapping):
                count += sum(map(_elements, value))
    return count


async def off_loop(work: Callable[..., T], *arguments: object, large: bool) -> T:
    """Do the work in a thread if it is large, so that the loop goes on meanwhile."""
    return await asyncio.to_thread(work, *arguments) if large else work(*arguments)
