"""`doctor` finds a fit Kafka and a fit store fit, leaves nothing behind, and says what is not right."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.cli.running import Cli, SigningService
from tests.support.bucket import left_uploads, read_objects

KEYS = ("SMARTCONNECT_DOCTOR_ACCESS_KEY", "SMARTCONNECT_DOCTOR_SECRET_KEY")


async def test_the_machine_is_fit(cli: Cli) -> None:
    said = (await cli("doctor")).assert_fine()
    assert "fails" not in said.out
    for what in ("the settings", "the registry", "time zones", "instance tests", "clock"):
        assert what in said.out


async def test_kafka_does_all_that_we_stand_on_and_is_left_clean(running: SigningService, here: Cli, kafka: KafkaCluster) -> None:
    found = (await here("doctor", "--instance", "tests", "--json")).assert_fine().json()["findings"]
    assert len(found) == 11
    assert {finding["verdict"] for finding in found} == {"holds"}
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    assert not [name for name in admin.list_topics(timeout=10).topics if name.startswith("smartconnect.doctor")]
    groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
    assert not [name for name in groups if name.startswith("smartconnect.doctor")]


async def test_a_store_does_all_that_we_stand_on_and_is_left_clean(here: Cli, s3: S3Server, bucket: str) -> None:
    keys = dict(zip(KEYS, (s3.access_key, s3.secret_key), strict=True))
    found = (await here("doctor", "--store", bucket, "--json", **keys)).assert_fine().json()["findings"]
    assert len(found) == 15
    assert {finding["verdict"] for finding in found} == {"holds"}
    assert await read_objects(s3, bucket) == []
    assert await left_uploads(s3, bucket) == []


async def test_wrong_keys_of_a_store_are_named(here: Cli, s3: S3Server, bucket: str) -> None:
    wrong = dict(zip(KEYS, (s3.access_key, "a-wrong-secret-key"), strict=True))
    said = await here("doctor", "--store", bucket, **wrong)
    said.assert_one_line("the keys are accepted")
    assert "SignatureDoesNotMatch" in said.out
    assert "a-wrong-secret-key" not in said.out + said.err


async def test_keys_of_a_store_are_asked_for_where_nobody_can_answer(here: Cli, bucket: str) -> None:
    (await here("doctor", "--store", bucket)).assert_one_line("SMARTCONNECT_DOCTOR_ACCESS_KEY", code=78)


async def test_an_instance_that_the_file_lacks_is_named(here: Cli) -> None:
    (await here("doctor", "--instance", "nowhere")).assert_one_line("nowhere", "tests", code=78)
