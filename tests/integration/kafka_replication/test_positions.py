"""`verify` and `positions` on a two-way replication of a running service: both directions are told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.registry import Registry
from smartconnect.sandbox.kafka import KafkaCluster
from tests.integration.cli.running import Cli, SigningService, signing_service
from tests.support.records import RecordWriter, WriterOptions
from tests.support.replication import create_replication
from tests.support.service import ServiceOptions
from tests.support.services import Names
from tests.support.topics import create_topic
from tests.support.waiting import eventually


@pytest.fixture
async def service(tmp_path: Path, kafka: KafkaCluster, peer_kafka: KafkaCluster) -> AsyncIterator[SigningService]:
    options = ServiceOptions(kafka.bootstrap_servers, workers=1, peer_servers=peer_kafka.bootstrap_servers)
    async with signing_service(tmp_path, options) as service:
        yield service


async def test_positions_of_a_two_way_task_are_shown_and_moved_by_direction_and_verify_sees_it(
    service: SigningService, kafka: KafkaCluster, peer_kafka: KafkaCluster, names: Names
) -> None:
    topic, cli = names.topic("orders"), Cli(service.folder / "smart-connect.toml", in_process=True)
    for servers, tag in ((kafka.bootstrap_servers, "here"), (peer_kafka.bootstrap_servers, "there")):
        await create_topic(servers, topic)
        await RecordWriter(servers, topic, options=WriterOptions(tag=tag)).write(100 if tag == "here" else 60)
    task = await create_replication(
        service, "both-ways", topics=topic, direction="two-way", provenance_header_enabled=True, options={"refresh_interval_s": 1}
    )
    await task.caught_up(offsets=160)

    found = (await cli("verify", "both-ways", "--json")).assert_fine().lines()
    assert sorted((line["kind"], line["direction"], line["partition"]) for line in found[:-1]) == [
        ("equal", "pull", 0),
        ("equal", "push", 0),
    ]
    assert (found[-1]["summary"]["records"], found[-1]["summary"]["wrong"]) == (160, 0)
    told = (await cli("verify", "both-ways", "--last", "50")).assert_fine().out
    assert "both-ways: all is equal (100 records found equal" in told
    (await cli("verify", "both-ways", "--deep")).assert_one_line("are for dumps")
    (await cli("verify", "both-ways", "--topic", "another")).assert_one_line("copies no such topic")

    (await cli("positions", "both-ways", "skip", topic, "0", "--direction", "push")).assert_one_line("not paused")
    await task.act("pause")
    await task.shows("PAUSED")
    (await cli("positions", "both-ways", "set", topic, "0", "90")).assert_one_line("--direction pull or push")
    (await cli("positions", "both-ways", "show", "--direction", "back")).assert_one_line("the directions pull, push")
    shown = (await cli("positions", "both-ways", "show", "--json")).assert_fine().json()["positions"]
    assert [(row["direction"], row["topic"], row["partition"]) for row in shown] == [("pull", topic, 0), ("push", topic, 0)]
    assert {row["direction"]: row["log_start"] for row in shown} == {"pull": 0, "push": 0}
    assert all(row["position"] is not None and row["position"] >= 60 for row in shown)
    only = (await cli("positions", "both-ways", "show", topic, "--direction", "push")).assert_fine().out
    assert "push" in only and "pull" not in only

    said = (await cli("positions", "both-ways", "set", topic, "0", "90", "--direction", "push")).assert_fine().out
    assert said.startswith(f"position of {topic}-0 (push) was set from ")
    assert said.endswith("are delivered again\n")
    events = [event for event in (await task.progress())["events"] if event["code"] == "position_set"]
    assert [event["message"] for event in events] == [said.strip()]
    registry = await Registry.open(f"sqlite:///{service.registry}", service.folder / "registry.key")
    try:
        audits = [event for event in await registry.audit_events() if event.name == "setConnectorPosition"]
    finally:
        await registry.close()
    assert len(audits) == 1 and audits[0].details.endswith(said.strip())

    await task.act("resume")
    await eventually(lambda: _copied_again(cli), 60, what="ten records are there twice, and verify says so")


async def _copied_again(cli: Cli) -> bool:
    """Records 90 to 99 of this side went out a second time."""
    said = await cli("verify", "both-ways")
    if said.code == 0:
        return False
    said.assert_one_line("is not as it should be: 1 differs")
    assert "the target has 10 more there than the source" in said.out, said
    return True
