"""What integration tests of several packages share: one running service with a signing key, and the command line on its settings file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.cli.running import Cli, SigningService, signing_service
from tests.support.service import ServiceOptions
from tests.support.services import shared


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaCluster, s3: S3Server) -> Iterator[SigningService]:
    """One service for all tests that do nothing to it. It may hold 18 tasks."""
    with shared(signing_service(tmp_path_factory.mktemp("running"), ServiceOptions(kafka.bootstrap_servers, s3))) as service:
        yield service


@pytest.fixture
def cli(running: SigningService) -> Cli:
    """Commands on that service's settings file, in processes of their own."""
    return Cli(running.folder / "smart-connect.toml")


@pytest.fixture
def here(running: SigningService) -> Cli:
    """The same commands, run in this process: what they say is the same, and starting Python each time is saved."""
    return Cli(running.folder / "smart-connect.toml", in_process=True)
