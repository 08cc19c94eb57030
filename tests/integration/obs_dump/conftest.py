"""A running service for the dump's stories, on the shared Kafka and S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.support.service import Service, ServiceOptions, running_service


@pytest.fixture
async def service(tmp_path: Path, kafka: KafkaCluster, s3: S3Server) -> AsyncIterator[Service]:
    """Two workers, quick to notice new topics."""
    async with running_service(tmp_path, ServiceOptions(kafka.bootstrap_servers, s3)) as running:
        yield running
