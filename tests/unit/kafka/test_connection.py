"""Versions, login, throttle and the in-flight cap of one connection, against a peer that plays the broker."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from smartconnect.kafka import messages
from smartconnect.kafka.connection import MOST_IN_FLIGHT, Connection
from smartconnect.kafka.dialing import negotiate
from smartconnect.kafka.errors import ApiUnsupported
from smartconnect.kafka.messages import Api
from smartconnect.kafka.wire import Wire


class Broker:
    """Answers what the tests tell it to; keeps the headers of what came."""

    def __init__(self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection, self.reader, self.writer = connection, reader, writer
        self.seen: list[tuple[int, int]] = []

    async def request(self) -> tuple[int, int, int, bytes]:
        """(API key, version, correlation id, what follows)."""
        size = int.from_bytes(await self.reader.readexactly(4), "big")
        frame = await self.reader.readexactly(size)
        key, version, correlation = struct.unpack_from(">hhi", frame)
        self.seen.append((key, version))
        return key, version, correlation, frame[8:]

    def answer(self, correlation: int, body: bytes) -> None:
        self.writer.write((4 + len(body)).to_bytes(4, "big") + correlation.to_bytes(4, "big") + body)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire("broker 1 (b:9092)"), sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    connection = Connection(wire, "tests", 5.0, loop.time)
    connection.versions = {messages.METADATA.key: (0, 13), messages.LIST_GROUPS.key: (0, 2)}
    yield Broker(connection, reader, writer)
    connection.close()
    writer.close()


def api_versions(error: int, version: int, entries: list[tuple[int, int, int]]) -> bytes:
    response = messages.API_VERSIONS.response
    keys = [response.ApiVersion(api_key=key, min_version=low, max_version=high) for key, low, high in entries]
    return bytes(response(error_code=error, api_keys=keys).encode(version=version))


async def test_versions_are_learnt_from_the_broker(broker: Broker) -> None:
    negotiating = asyncio.create_task(negotiate(broker.connection))
    _, version, correlation, _ = await broker.request()
    broker.answer(correlation, api_versions(0, version, [(3, 0, 9), (1, 4, 11)]))
    await negotiating
    assert broker.connection.version(messages.METADATA) == 9
    assert broker.connection.version(messages.FETCH) == 11


async def test_broker_that_does_not_know_our_api_versions_is_asked_in_version_0(broker: Broker) -> None:
    negotiating = asyncio.create_task(negotiate(broker.connection))
    _, _, correlation, _ = await broker.request()
    broker.answer(correlation, api_versions(35, 0, [(18, 0, 2)]))
    _, version, correlation, _ = await broker.request()
    assert version == 0
    broker.answer(correlation, api_versions(0, 0, [(3, 0, 8)]))
    await negotiating
    assert broker.connection.version(messages.METADATA) == 8


@pytest.mark.parametrize(
    ("offered", "told"), [({}, "does not offer it"), ({3: (0, 7)}, "offers versions 0 to 7"), ({3: (13, 15)}, "13 to 15")]
)
async def test_no_version_in_common_is_one_clear_error(broker: Broker, offered: dict[int, tuple[int, int]], told: str) -> None:
    broker.connection.versions = offered
    with pytest.raises(ApiUnsupported, match=told) as caught:
        broker.connection.version(messages.METADATA)
    assert "Metadata" in str(caught.value) and "broker 1 (b:9092)" in str(caught.value)
    assert not broker.connection.supports(messages.METADATA)


async def ask(broker: Broker, api: Api = messages.LIST_GROUPS) -> int:
    answer = await broker.connection.call(api, {})
    return int(answer.error_code)


def groups(throttle_ms: int) -> bytes:
    return bytes(messages.LIST_GROUPS.response(throttle_time_ms=throttle_ms, error_code=0, groups=[]).encode(version=2))


async def test_nothing_is_sent_while_the_broker_throttles(broker: Broker) -> None:
    first = asyncio.create_task(ask(broker))
    _, _, correlation, _ = await broker.request()
    broker.answer(correlation, groups(300))
    await first
    assert 0.2 < broker.connection.muted_s <= 0.3
    started = asyncio.get_running_loop().time()
    second = asyncio.create_task(ask(broker))
    _, _, correlation, _ = await broker.request()
    assert asyncio.get_running_loop().time() - started > 0.2
    broker.answer(correlation, groups(0))
    await second


async def test_absurd_throttle_is_limited(broker: Broker) -> None:
    broker.connection.throttle(2**31 / 1000)
    assert broker.connection.muted_s <= 60


async def test_no_more_than_the_cap_is_in_flight_and_the_rest_waits_its_turn(broker: Broker) -> None:
    asked = [asyncio.create_task(ask(broker)) for _ in range(MOST_IN_FLIGHT + 3)]
    correlations = [(await broker.request())[2] for _ in range(MOST_IN_FLIGHT)]
    assert broker.connection.wire.in_flight == MOST_IN_FLIGHT
    for correlation in correlations:
        broker.answer(correlation, groups(0))
    for _ in range(3):
        broker.answer((await broker.request())[2], groups(0))
    assert await asyncio.gather(*asked) == [0] * (MOST_IN_FLIGHT + 3)


async def test_login_is_renewed_with_nothing_in_flight(broker: Broker) -> None:
    in_flight: list[int] = []

    async def renew(connection: Connection) -> float:
        in_flight.append(connection.wire.in_flight)
        return 0.0

    before = asyncio.create_task(ask(broker))
    _, _, correlation, _ = await broker.request()
    broker.connection.keep_login(renew, 1e-9)
    after = asyncio.create_task(ask(broker))
    await asyncio.sleep(0)
    assert in_flight == []
    broker.answer(correlation, groups(0))
    await before
    broker.answer((await broker.request())[2], groups(0))
    await after
    assert in_flight == [0]
