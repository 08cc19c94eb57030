"""A partition that Kafka refuses rests with the reason and goes on by itself when it is refused no more, exactly where it stopped; the
others of its unit never notice (obs-dump.md §2, §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from smartconnect.jobs.obs_dump import janitor, redelivery, rests
from smartconnect.jobs.obs_dump.runner import DumpRunner
from smartconnect.kafka.codes import KafkaCode
from smartconnect.sandbox.kafka import KafkaCluster, kafka_cluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.obs_dump.story import CONTINUE, STOP
from tests.support.acls import Rights, guarding
from tests.support.bucket import count_bucket, left_uploads, read_objects, s3_client
from tests.support.dump_unit import DumpUnit, blocked, caught_up, dump_spec, row_of
from tests.support.ids import count_ids
from tests.support.kafka_api import ApiKey, Request
from tests.support.kafka_proxy import KafkaProxy
from tests.support.records import RecordWriter, WriterOptions
from tests.support.rules import Gate
from tests.support.s3_operations import Operation
from tests.support.s3_proxy import Exchange, S3Proxy
from tests.support.services import Names, shared
from tests.support.topics import create_topic
from tests.support.waiting import eventually

JOE, PASSWORD = "joe", "correct-horse"
LOGIN = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "user_name": JOE, "password": PASSWORD}
READING = (AclOperation.READ, AclOperation.DESCRIBE)
MISSING = "permission_missing"


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaCluster]:
    """A Kafka on which Joe may do what he is granted."""
    with shared(kafka_cluster(guarding(JOE, PASSWORD))) as cluster:
        yield cluster


class ShortPauses:
    """What rests is tried again soon. `tries`: how often that was in vain before, of each rest."""

    def __init__(self) -> None:
        self.tries: list[int] = []

    def ceiling(self, tries: int) -> float:
        self.tries.append(tries)
        return 0.2


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> ShortPauses:
    short = ShortPauses()
    monkeypatch.setattr(rests, "_PAUSES", short)
    return short


class Two:
    """A topic that may always be read, and one that may not at times; one unit dumps both."""

    def __init__(self, kafka: KafkaCluster, s3: S3Server, bucket: str, names: Names) -> None:
        self.s3, self.bucket, self.kafka = s3, bucket, kafka
        self.good, self.bad = names.topic("good"), names.topic("bad")
        servers = kafka.internal_servers
        self.writers = {
            topic: RecordWriter(servers, topic, 1, WriterOptions(tag=tag))
            for topic, tag in ((self.good, "good"), (self.bad, "bad"))
        }
        self.rights = Rights(kafka, JOE)
        spec = dump_spec(s3, bucket, [self.good, self.bad], CONTINUE)
        self.unit = DumpUnit(kafka.bootstrap_servers, s3.endpoint, s3.region, spec, login=LOGIN)

    async def made(self) -> None:
        for topic in self.writers:
            await create_topic(self.kafka.internal_servers, topic)

    async def permit(self, topic: str) -> None:
        await self.rights.grant(ResourceType.TOPIC, topic, READING)

    async def forbid(self, operation: AclOperation = AclOperation.ANY) -> None:
        assert await self.rights.revoke(ResourceType.TOPIC, self.bad, operation)

    async def promised(self, store: S3Proxy, reached: int = 100) -> Gate[Exchange]:
        """100 more records to each topic; their owner dies when both objects are promised and the store has not heard of it. What the gate
        holds never arrives before it is opened."""
        gate = store.hold_request(Operation.COMPLETE_MULTIPART_UPLOAD, count=None)
        await self.write(100)
        self.unit.endpoint = store.endpoint
        async with self.unit.killed() as runner:
            for topic in self.writers:
                await self.reached(runner, topic, reached)
            await gate.reached(2)
        self.unit.endpoint = self.s3.endpoint
        return gate

    async def write(self, count: int) -> None:
        for writer in self.writers.values():
            await writer.write(count)

    async def reached(self, runner: DumpRunner, topic: str, position: int) -> None:
        await eventually(lambda: row_of(runner, topic).position == position, 60, what=f"{topic} is at {position}")

    @property
    def expected(self) -> dict[tuple[str, int], int]:
        return {source: count for writer in self.writers.values() for source, count in writer.expected.items()}

    async def exactly_once(self) -> None:
        async def is_so() -> bool:
            counted = await count_bucket(self.s3, self.bucket, self.expected)
            assert counted.is_perfect, str(counted)
            return True

        await eventually(is_so, 60, what="each record is there once")
        assert await left_uploads(self.s3, self.bucket) == []


@pytest.fixture
async def two(guarded: KafkaCluster, s3: S3Server, bucket: str, names: Names) -> Two:
    made = Two(guarded, s3, bucket, names)
    await made.made()
    await made.rights.grant(ResourceType.GROUP, "smartconnect.", prefixed=True)
    await made.rights.grant(ResourceType.TRANSACTIONAL_ID, "smartconnect.", prefixed=True)
    await made.permit(made.good)
    return made


@pytest.mark.parametrize("taken", [AclOperation.READ, AclOperation.ANY], ids=["READ", "all rights"])
async def test_a_topic_that_may_not_be_read_for_a_while_goes_on_where_it_stopped(
    two: Two, taken: AclOperation, pauses: ShortPauses
) -> None:
    unit = two.unit
    await two.permit(two.bad)
    await two.write(120)
    async with unit.running() as runner:
        await caught_up(runner, 240)
        await two.forbid(taken)
        await two.write(150)
        assert "grant READ" in await blocked(runner, two.bad, MISSING)
        await two.reached(runner, two.good, 270)

        shown = []

        def in_vain() -> bool:
            shown.append(row_of(runner, two.bad).reason)
            return pauses.tries[:5] == [0, 1, 2, 3, 4]

        await eventually(in_vain, what="it is tried again and again")
        assert None not in shown, "the reason is shown while it is tried, too"
        assert row_of(runner, two.bad).position == 120 and row_of(runner, two.good).reason is None
        reason = runner.progress().reason
        assert reason is not None and two.bad in reason.message

        await two.permit(two.bad)
        await caught_up(runner, 540)
        await eventually(lambda: runner.progress().reason is None, what="nothing is missing any more")
        await two.exactly_once()
    assert unit.ledger.codes == [MISSING]


async def test_a_quiet_topic_whose_right_is_back_is_well_before_its_next_record(two: Two) -> None:
    await two.permit(two.bad)
    await two.write(10)
    async with two.unit.running() as runner:
        await caught_up(runner, 20)
        await two.forbid()
        await blocked(runner, two.bad, MISSING)
        await two.permit(two.bad)
        await eventually(lambda: runner.progress().reason is None, what="nothing is missing any more")
    assert two.unit.ledger.codes == [MISSING]


async def test_what_was_read_before_the_right_was_taken_away_is_committed_when_it_is_back(two: Two) -> None:
    """Who may not read a topic may not commit offsets of it either; one transaction carries both topics."""
    two.unit.spec = replace(two.unit.spec, deliver_time_interval_s=6)
    await two.permit(two.bad)
    async with two.unit.running() as runner:
        await eventually(lambda: all(row_of(runner, topic).position == 0 for topic in two.writers), what="both have begun")
        await two.write(50)
        await eventually(lambda: runner.progress().counters.get("records_in") == 100, what="all is read")
        await two.forbid()
        await two.reached(runner, two.good, 50)
        await blocked(runner, two.bad, MISSING)
        await two.write(30)
        await two.reached(runner, two.good, 80)
        assert row_of(runner, two.bad).position == 0
        await two.permit(two.bad)
        await caught_up(runner, 160)
        await two.exactly_once()
    assert two.unit.ledger.codes == [MISSING]
    assert runner.progress().counters["records_in"] == 160, "what was read once is not read again"


async def test_a_topic_without_read_does_not_keep_its_unit_from_starting(two: Two) -> None:
    """It has no position yet, and none may be committed."""
    await two.rights.grant(ResourceType.TOPIC, two.bad, (AclOperation.DESCRIBE,))
    await two.write(120)
    async with two.unit.running() as runner:
        await two.reached(runner, two.good, 120)
        assert "grant READ" in await blocked(runner, two.bad, MISSING)
        await two.permit(two.bad)
        await caught_up(runner, 240)
        await two.exactly_once()
        assert runner.progress().reason is None
    assert two.unit.ledger.codes == [MISSING]


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "by pattern"])
@pytest.mark.parametrize("options", [CONTINUE, STOP], ids=["continue", "stop"])
async def test_a_topic_that_is_hidden_when_its_unit_starts_is_not_taken_for_deleted(
    two: Two, by_name: bool, options: object, proxied_s3: S3Proxy
) -> None:
    """Kafka leaves out the topic and its positions then; an upload that one of them names is neither swept nor made twice."""
    unit = two.unit
    unit.spec = replace(unit.spec, options=options)
    if not by_name:
        unit.spec = replace(unit.spec, topics=(), topics_regex=f"{two.good}|{two.bad}")
    await two.permit(two.bad)
    await two.write(120)
    async with unit.running() as runner:
        await caught_up(runner, 240)
    gate = await two.promised(proxied_s3, 220)
    await two.forbid()
    for _ in range(2):
        async with unit.running() as runner:
            await two.write(10)
            await two.reached(runner, two.good, sum(two.writers[two.good].expected.values()))
            assert two.bad in await blocked(runner, two.bad, MISSING)
            shown = runner.progress().reason
            assert shown is not None and two.bad in shown.message
            assert runner.progress().counters.get("uploads_swept", 0) == 0
    assert unit.ledger.codes == [MISSING] * 2

    async with unit.running() as runner:
        await blocked(runner, two.bad, MISSING)
        await two.permit(two.bad)
        await caught_up(runner, 480)
        await two.exactly_once()
        assert runner.progress().reason is None and row_of(runner, two.bad).gaps == 0
    gate.release()
    assert unit.ledger.codes == [MISSING] * 3


async def test_the_janitor_leaves_a_hidden_topic_alone(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka does not tell what is promised of it. That a look has found it hidden is seen by a topic that came later."""
    monkeypatch.setattr(janitor, "_EVERY_S", 0.2)
    unit, later = two.unit, f"{two.good}-later"
    unit.spec = replace(unit.spec, topics=(), topics_regex=f"{two.good}.*|{two.bad}")
    await two.permit(two.bad)
    await two.write(120)
    store = s3_client(two.s3)

    def swept(runner: DumpRunner) -> int:
        return runner.progress().counters.get("uploads_swept", 0)

    async with unit.running() as runner:
        await caught_up(runner, 240)
        await two.exactly_once()
        await two.forbid()
        await blocked(runner, two.bad, MISSING)
        await create_topic(two.kafka.internal_servers, later)
        await two.permit(later)
        await eventually(
            lambda: any(row.topic == later for row in runner.progress().partitions), what="the later topic is taken up"
        )
        before = swept(runner)  # what was listed while it was completed counts, though nothing of it is left to abort
        for topic in (two.bad, two.good):  # as an owner that died before its commit would have left them
            key = next(each.key for each in await read_objects(two.s3, two.bucket) if f"/{topic}/" in each.key)
            await asyncio.to_thread(store.create_multipart_upload, Bucket=two.bucket, Key=key)
        await eventually(lambda: swept(runner) == before + 1, what="a round of the janitor is over")
        assert [two.bad in left.key for left in await left_uploads(two.s3, two.bucket)] == [True]
        await two.permit(two.bad)
        await eventually(lambda: swept(runner) == before + 2, what="what was left of the topic is swept when it is seen")


async def test_a_lost_upload_of_a_topic_that_may_not_be_read_is_made_again_when_it_may(
    two: Two, proxied_s3: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Kafka refuses is not what Kafka no longer has."""
    monkeypatch.setattr(redelivery, "_AGAIN_S", 0.2)
    unit = two.unit
    await two.permit(two.bad)
    gate = await two.promised(proxied_s3)
    [upload] = [each for each in await left_uploads(two.s3, two.bucket) if two.bad in each.key]
    store = s3_client(two.s3)
    await asyncio.to_thread(store.abort_multipart_upload, Bucket=two.bucket, Key=upload.key, UploadId=upload.upload_id)
    await two.forbid(AclOperation.READ)
    async with unit.running() as runner:
        await blocked(runner, two.bad, MISSING)
        await two.write(30)
        await two.reached(runner, two.good, 130)
        assert unit.ledger.codes == ["lost_upload", MISSING]
        await two.permit(two.bad)
        await caught_up(runner, 260)
        await two.exactly_once()
        assert row_of(runner, two.bad).gaps == 0 and runner.progress().reason is None
    gate.release()
    assert unit.ledger.codes == ["lost_upload", MISSING]


async def test_what_an_earlier_run_promised_of_a_hidden_topic_appears_when_that_is_seen(two: Two, proxied_s3: S3Proxy) -> None:
    """The run stays open until then, and nothing of that topic is read before."""
    unit = two.unit
    await two.permit(two.bad)
    gate = await two.promised(proxied_s3)
    await two.forbid()
    unit.run_number, unit.ledger.reported, unit.ledger.runs = 2, {}, [1]
    unit.spec = replace(unit.spec, path="again")
    async with unit.running() as runner:
        await two.reached(runner, two.good, 100)
        assert unit.ledger.runs == [1]
        await two.permit(two.bad)
        await caught_up(runner, 200)
        assert unit.ledger.runs == ()
        for run in ("dump/", "again/"):
            stored = await read_objects(two.s3, two.bucket, run)
            count_ids([each.values() for each in stored], two.expected).assert_exactly_once()
    gate.release()


async def test_a_topic_that_was_hidden_from_its_first_moment_is_begun_when_it_is_seen(two: Two) -> None:
    await two.write(120)
    async with two.unit.running() as runner:
        await two.reached(runner, two.good, 120)
        shown = runner.progress().reason
        assert shown is not None and two.bad in shown.message and "DESCRIBE" in shown.message
        await two.permit(two.bad)
        await caught_up(runner, 240)
        await two.exactly_once()
        assert runner.progress().reason is None
    assert two.unit.ledger.codes == [MISSING]


async def test_a_partition_whose_broker_answers_what_we_do_not_know_rests_until_it_does_not(
    kafka: KafkaCluster, proxied_kafka: KafkaProxy, s3: S3Server, bucket: str, names: Names
) -> None:
    two = Two(kafka, s3, bucket, names)
    await two.made()
    two.unit.servers, two.unit.login = proxied_kafka.bootstrap_servers, {}
    two.unit.spec = replace(two.unit.spec, topics=(two.bad,))
    await two.writers[two.bad].write(120)
    async with two.unit.running() as runner:
        await caught_up(runner, 120)
        odd = proxied_kafka.rewrite_answer(ApiKey.FETCH, _with_code(KafkaCode.INVALID_REQUEST), count=None)
        assert "INVALID_REQUEST" in await blocked(runner, two.bad, rests.REFUSED)
        await two.writers[two.bad].write(50)
        await odd.hit(odd.hits + 3)
        assert row_of(runner, two.bad).reason is not None and row_of(runner, two.bad).position == 120
        odd.remove()
        await caught_up(runner, 170)
        assert runner.progress().reason is None
        two.writers.pop(two.good)
        await two.exactly_once()
    assert two.unit.ledger.codes == [rests.REFUSED]


def _with_code(code: KafkaCode) -> Callable[[Request, bytes], bytes]:
    """An answer about one partition, number 0, says this of it."""

    def rewrite(request: Request, answer: bytes) -> bytes:
        fine = b"\2" + bytes(4) + bytes(2)  # one partition, its number, no error
        assert answer.count(fine) <= 1
        return answer.replace(fine, fine[:-2] + code.to_bytes(2, "big"))

    return rewrite
