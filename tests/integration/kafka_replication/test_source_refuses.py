"""What the source refuses concerns one topic, and heals by itself: it goes on exactly where it stopped (kafka-replication.md §10, §11)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from smartconnect.domain.kafka_replication_spec import Direction, Peer, ReplicationOptions, ReplicationSpec
from smartconnect.domain.secret import Secret
from smartconnect.jobs.kafka_replication import rests
from smartconnect.kafka.codes import KafkaCode
from smartconnect.sandbox.kafka import KafkaCluster, kafka_cluster
from tests.integration.kafka_replication.stories import blocked, contents, row_of
from tests.support.acls import Rights, guarding
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.mirror import Side, assert_mirrored, eventually_mirrored
from tests.support.records import RecordWriter
from tests.support.replication_unit import UnitUnderTest, caught_up, spec_of
from tests.support.services import Names, shared
from tests.support.topics import create_topic, delete_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("looks_at_its_intervals_only")

READER = (AclOperation.DESCRIBE, AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
PASSWORD = "correct-horse"
NEVER_S, OFTEN_S = 120.0, 0.5
"""How often a unit looks at topics: while a test lasts, only when it starts; or before a test knows."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rests is tried again after half a second instead of thirty, and in vain some times in a test."""
    monkeypatch.setattr(rests, "_FIRST_REST_S", 0.5)
    monkeypatch.setattr(rests, "_LONGEST_REST_S", 1.0)


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaCluster]:
    """A Kafka with ACLs on which Joe may nothing yet."""
    with shared(kafka_cluster(guarding("joe", PASSWORD))) as cluster:
        yield cluster


class Flow:
    """A topic of two partitions on Joe's cluster and its copy here."""

    def __init__(self, here: KafkaCluster, guarded: KafkaCluster, topic: str) -> None:
        self.topic, self._joe = topic, Rights(guarded, "joe")
        self.source, self.target = Side(guarded.internal_servers, topic), Side(here.bootstrap_servers, topic)
        self.writer = RecordWriter(self.source.servers, topic, 2)

    async def may(self, *operations: AclOperation) -> None:
        """All that Joe may do with it on the source."""
        await self._joe.revoke(ResourceType.TOPIC, self.topic)
        if operations:
            await self._joe.grant(ResourceType.TOPIC, self.topic, operations)


class Joes:
    """Two topics that one unit copies from Joe's cluster. Of `secret` his rights go and come."""

    def __init__(self, here: KafkaCluster, guarded: KafkaCluster, names: Names) -> None:
        self.open, self.secret = (Flow(here, guarded, names.topic(suffix)) for suffix in ("open", "secret"))
        self._here, self._guarded, self._joe = here, guarded, Rights(guarded, "joe")

    async def made(self) -> None:
        await self._joe.grant(ResourceType.TOPIC, "__smartconnect", READER, prefixed=True)
        for flow in self.both:
            await create_topic(flow.source.servers, flow.topic, partitions=2)
            await flow.may(*READER)

    @property
    def both(self) -> Sequence[Flow]:
        return self.open, self.secret

    async def written(self, count: int) -> None:
        for flow in self.both:
            await flow.writer.write(count)

    def unit(self, refresh_interval_s: float) -> UnitUnderTest:
        return self._unit(spec_of("unused:1", [flow.topic for flow in self.both], _looking(refresh_interval_s)))

    def unit_of_pattern(self) -> UnitUnderTest:
        """A pattern selects the topics: the source is asked for all that it has."""
        pattern = "|".join(flow.topic for flow in self.both)
        return self._unit(replace(spec_of("unused:1", [], _looking(OFTEN_S)), topics_regex=pattern))

    def _unit(self, spec: ReplicationSpec) -> UnitUnderTest:
        peer = Peer(None, self._guarded.bootstrap_servers, "SASL_PLAINTEXT", "PLAIN", "joe", Secret(PASSWORD))
        return UnitUnderTest(self._here.bootstrap_servers, replace(spec, peer=peer))

    async def mirrored(self) -> None:
        for flow in self.both:
            await eventually_mirrored(flow.source, flow.target)


def _looking(refresh_interval_s: float) -> ReplicationOptions:
    return ReplicationOptions(refresh_interval_s=refresh_interval_s)


@pytest.fixture
async def joes(kafka: KafkaCluster, guarded: KafkaCluster, names: Names) -> Joes:
    made = Joes(kafka, guarded, names)
    await made.made()
    return made


@pytest.mark.parametrize("left", [(), (AclOperation.DESCRIBE,)], ids=["nothing", "describe"])
@pytest.mark.parametrize("refresh_interval_s", [NEVER_S, OFTEN_S], ids=["fetch tells", "a look tells too"])
async def test_a_topic_that_may_not_be_read_any_more_rests_alone_and_goes_on_when_it_may(
    joes: Joes, left: Sequence[AclOperation], refresh_interval_s: float
) -> None:
    unit, secret = joes.unit(refresh_interval_s), joes.secret
    await joes.written(100)
    async with unit.running() as runner:
        await caught_up(runner)
        await secret.may(*left)
        for number in (0, 1):
            row = await blocked(runner, secret.topic, "permission_missing", number)
            assert row.reason is not None and secret.topic in row.reason.message and "READ" in row.reason.message
        for _ in range(2):
            await joes.written(20)
            await eventually_mirrored(joes.open.source, joes.open.target)
        assert [len(await contents(secret.target, number)) for number in (0, 1)] == [100, 100]
        assert (await blocked(runner, secret.topic, "permission_missing")).position == 100
        assert row_of(runner, joes.open.topic).reason is None

        await secret.may(*READER)
        await joes.mirrored()
        await caught_up(runner)
        assert runner.progress().reason is None
    for flow in joes.both:
        await assert_mirrored(flow.source, flow.target)
    assert unit.ledger.codes == ["permission_missing"], "each try is told, or each partition"


async def test_rights_that_go_once_more_are_told_once_more(joes: Joes) -> None:
    unit, secret = joes.unit(NEVER_S), joes.secret
    async with unit.running() as runner:
        for _ in range(2):
            await joes.written(20)
            await joes.mirrored()
            await secret.may()
            for number in (0, 1):
                await blocked(runner, secret.topic, "permission_missing", number)
            await secret.may(*READER)
        await joes.written(20)
        await joes.mirrored()
    assert unit.ledger.codes == ["permission_missing"] * 2


async def test_a_topic_of_a_pattern_that_is_hidden_is_not_told_as_deleted(joes: Joes) -> None:
    """Its name is not on the list of all topics any more: while the unit runs, and when the next one starts."""
    unit, secret = joes.unit_of_pattern(), joes.secret
    await joes.written(100)
    async with unit.running() as runner:
        await caught_up(runner)
        await secret.may()
        await blocked(runner, secret.topic, "permission_missing")
        await joes.written(50)
        await eventually_mirrored(joes.open.source, joes.open.target)
    assert unit.ledger.codes == ["permission_missing"]
    async with unit.running() as runner:
        await eventually(lambda: runner.progress().reason is not None, what="the next owner shows what is missing")
        assert unit.ledger.codes == ["permission_missing"] * 2
        await secret.may(*READER)
        await joes.mirrored()
        await caught_up(runner)
        await delete_topics(secret.source.servers, [secret.topic])
        await eventually(lambda: "topic_deleted" in unit.ledger.codes, what="a topic that is deleted is told so")
    assert unit.ledger.codes == ["permission_missing"] * 2 + ["topic_deleted"] * 2


async def test_a_source_that_answers_what_nobody_expects_is_asked_again(
    kafka: KafkaCluster, peer_kafka: KafkaCluster, proxied_kafka: KafkaProxy, names: Names
) -> None:
    """Records flow from here to the peer; the proxy changes what our side says of the one partition at its end."""
    topic = names.topic("orders")
    source, target = Side(kafka.bootstrap_servers, topic), Side(peer_kafka.bootstrap_servers, topic)
    await create_topic(source.servers, topic)
    writer = RecordWriter(source.servers, topic)
    spec = replace(spec_of(target.servers, [topic], _looking(NEVER_S)), directions=(Direction.PUSH,))
    unit = UnitUnderTest(proxied_kafka.bootstrap_servers, spec, direction=Direction.PUSH)
    await writer.write(100)
    fine, refused = (
        bytes(4) + code.to_bytes(2, "big") + (150).to_bytes(8, "big") for code in (KafkaCode.NONE, KafkaCode.INVALID_RECORD)
    )

    def rewrite(request: Request, answer: bytes) -> bytes:
        return answer.replace(fine, refused)

    async with unit.running() as runner:
        await caught_up(runner)
        lie = proxied_kafka.rewrite_answer(ApiKey.FETCH, rewrite, count=None)
        await writer.write(50)
        row = await blocked(runner, topic, "kafka_refused")
        assert row.reason is not None and "INVALID_RECORD" in row.reason.message and row.position == 100
        await lie.hit(lie.hits + 3)
        lie.remove()
        await eventually_mirrored(source, target)
        await caught_up(runner)
        assert row_of(runner, topic).reason is None
    assert unit.ledger.codes == ["kafka_refused"]
