"""Fixtures that every test may ask for. Services are lazy: a test that names none starts none.

`kafka`, `peer_kafka` and `s3` are one shared server each for the whole session of one process (`pytest -n 4` has four of each);
whoever kills, freezes or reconfigures a server starts one of their own with `smartconnect.sandbox`. When a test fails, the folders
of the services it used are kept and named in its report.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from smartconnect.sandbox.cache import KEEP_VARIABLE, keep, kept_run_folders
from smartconnect.sandbox.kafka import KafkaCluster, kafka_cluster
from smartconnect.sandbox.s3 import S3Server, s3_server
from tests.support.kafka_proxy import KafkaProxy, kafka_proxy
from tests.support.s3_proxy import S3Proxy, s3_proxy
from tests.support.services import Names, shared
from tests.support.topics import create_topic, delete_topics

MakeTopic = Callable[..., Awaitable[str]]
_KEPT_FOR_S = 24 * 3600

# What takes long here is the machine, busy with the servers of other tests.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


pytest.register_assert_rewrite("tests.support.broker_rules")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault(KEEP_VARIABLE, "failed")
    if hasattr(config, "workerinput"):
        return  # the process that started this one has cleaned up
    for folder in kept_run_folders():
        if time.time() - (folder / "KEEP").stat().st_mtime > _KEPT_FOR_S:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        logs = [str(log) for folder in _kept_for(item, call.start) for log in _logs_below(folder)]
        if logs:
            report.sections.append(("Logs of the services (kept)", "\n".join(logs)))
    return report


def _logs_below(folder: Path) -> list[Path]:
    """Servers may still run, and remove folders of their own while we look."""
    return sorted(
        Path(where, "server.log") for where, _, files in os.walk(folder, onerror=lambda error: None) if "server.log" in files
    )


def _kept_for(item: pytest.Item, started: float) -> list[Path]:
    """The folders of the shared services that the test used, kept from now on, and of its own services, kept already."""
    services = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, KafkaCluster | S3Server)]
    for service in services:
        keep(service.folder)
    own = str(os.getpid())
    marks = [folder / "KEEP" for folder in kept_run_folders()]
    return [mark.parent for mark in marks if mark.read_text() == own and mark.stat().st_mtime >= started]


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """The shared Kafka node: plaintext, no authorizer. Do not kill it."""
    with shared(kafka_cluster()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def peer_kafka() -> Iterator[KafkaCluster]:
    """A second shared Kafka, of another cluster id: the peer of replications. Do not kill it."""
    with shared(kafka_cluster()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """The shared S3 server. Do not kill it."""
    with shared(s3_server()) as server:
        yield server


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    """Topic, group and bucket names of this test alone."""
    return Names.of_test(request.node.name)


@pytest.fixture
async def make_topic(kafka: KafkaCluster, names: Names) -> AsyncIterator[MakeTopic]:
    """`await make_topic(suffix, partitions=1, config={…})` → the name of a topic on the shared Kafka, deleted after the test."""
    made: list[str] = []

    async def make(suffix: str = "topic", *, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        name = names.topic(suffix)
        await create_topic(kafka.bootstrap_servers, name, partitions=partitions, config=config)
        made.append(name)
        return name

    yield make
    await delete_topics(kafka.bootstrap_servers, made)


@pytest.fixture
async def topic(make_topic: MakeTopic) -> str:
    """A topic with one partition on the shared Kafka."""
    return await make_topic()


@pytest.fixture
async def proxied_kafka(kafka: KafkaCluster) -> AsyncIterator[KafkaProxy]:
    """A fault-injecting proxy before the shared Kafka; only clients of `proxied_kafka.bootstrap_servers` go through it."""
    async with kafka_proxy(kafka) as proxy:
        yield proxy


@pytest.fixture
async def proxied_s3(s3: S3Server) -> AsyncIterator[S3Proxy]:
    """A fault-injecting proxy before the shared S3 server; only clients of `proxied_s3.endpoint` go through it."""
    async with s3_proxy(s3) as proxy:
        yield proxy


@pytest.fixture
def bucket(s3: S3Server, names: Names) -> Iterator[str]:
    """An empty bucket on the shared S3 server. It goes after the test in one moment, also while a service still writes into it."""
    name = names.bucket()
    (s3.buckets / name).mkdir()
    yield name
    removed = s3.buckets.parent / f"removed-{name}"
    (s3.buckets / name).rename(removed)
    shutil.rmtree(removed)
