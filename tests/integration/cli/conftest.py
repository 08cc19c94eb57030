"""One running service for all tests of the command line, on the shared Kafka and S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.cli.running import Cli, SigningService, cli_of, signing_service
from tests.support.service import ServiceOptions
from tests.support.services import shared


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaCluster, s3: S3Server) -> Iterator[SigningService]:
    """The service; its tasks are deleted by the tests that make them."""
    with shared(signing_service(tmp_path_factory.mktemp("cli"), ServiceOptions(kafka.bootstrap_servers, s3))) as service:
        yield service


@pytest.fixture
def cli(running: SigningService) -> Cli:
    """Commands on that service's settings file."""
    return cli_of(running)
