"""Official SDKs, unmodified, against the API over HTTP (api.md §10.1): every operation they have, every field back as sent, errors with
code and request id. Once against the API alone, once against the whole product with a real Kafka and a real store, where every status on
the way must be one that a polling client expects (§9).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from smartconnect.sandbox.kafka import KafkaCluster
from smartconnect.sandbox.s3 import S3Server
from tests.integration.api.serving import Served
from tests.support.sdk_env import SDK_VERSIONS, run_in_sdk
from tests.support.service import Service, ServiceOptions
from tests.unit.api.kit import DISABLED_INSTANCE, INSTANCE, PROJECT

SESSION = Path(__file__).with_name("sdk_session.py")
SINCE_147 = {
    "restart_smart_connector_task",
    "show_connector_resource_info",
    "validate_connector_connectivity",
    "modify_connector_task",
}
ALWAYS = {
    "create_connector_task",
    "list_connector_tasks",
    "show_connector_task",
    "delete_connector_task",
    "pause_connector_task",
    "resume_connector_task",
    "restart_connector_task",
    "create_connector",
    "delete_connector",
    "show_instance",
}

pytestmark = pytest.mark.timeout(900)


SINK = {
    "access_key": "AK",
    "secret_key": "SK",
    "obs_bucket_name": "obs_bucket",
    "obs_path": "sdk",
    "consumer_strategy": "earliest",
    "destination_file_type": "TEXT",
    "deliver_time_interval": 60,
    "partition_format": "yyyy/MM/dd",
    "record_delimiter": "\\n",
    "store_keys": False,
}


SOURCE = {
    "bootstrap_servers": "peer-1:9092,peer-2:9092",
    "security_protocol": "SASL_SSL",
    "sasl_mechanism": "SCRAM-SHA-512",
    "user_name": "joe",
    "password": "CANARY",
    "current_cluster_name": "A",
    "cluster_name": "B",
    "direction": "two-way",
    "task_num": 3,
    "consumer_strategy": "earliest",
    "replication_factor": 1,
    "rename_topic_enabled": True,
    "provenance_header_enabled": False,
    "sync_consumer_offsets_enabled": True,
    "compression_type": "zstd",
}


PLAIN = {name: value for name, value in SOURCE.items() if name not in ("user_name", "password")} | {
    "security_protocol": "PLAINTEXT"
}
"""For a real cluster without logins: the instance's own, under another name."""


class SignedService(Service):
    """The product with an access key and an instance that is not enabled."""

    def _settings(self) -> str:
        return f"""{super()._settings()}
[[api.access_keys]]
access_key = "AK-EXAMPLE"
secret_key = "SK-EXAMPLE"
project_ids = ["*"]
[[instances]]
id = "{DISABLED_INSTANCE}"
project_id = "{PROJECT}"
bootstrap_servers = "{self.options.bootstrap_servers}"
connector_enabled = false
"""


def run_session(version: str, given: dict[str, Any]) -> None:
    """One whole session; every operation that this version has was called."""
    common = {"project": PROJECT, "access_key": "AK-EXAMPLE", "secret_key": "SK-EXAMPLE", "disabled_instance": DISABLED_INSTANCE}
    answer = run_in_sdk(version, SESSION, {**common, "prefix": "sdk", **given})
    called = {name for name in answer["called"] if " " not in name}
    assert called == ALWAYS | SINCE_147 - set(answer["missing"])
    assert (answer["missing"] == []) == (version != SDK_VERSIONS[0])


@pytest.mark.parametrize("version", SDK_VERSIONS)
def test_every_operation_of_the_sdk_works(api: Served, version: str) -> None:
    given = {"endpoint": api.url, "instance": INSTANCE, "sink": SINK, "source": SOURCE, "topic": "orders", "running": False}
    run_session(version, given)


@pytest.mark.parametrize("version", SDK_VERSIONS)
async def test_every_operation_of_the_sdk_works_on_the_whole_product(
    tmp_path: Path, kafka: KafkaCluster, s3: S3Server, bucket: str, topic: str, version: str
) -> None:
    service = SignedService(tmp_path, ServiceOptions(kafka.bootstrap_servers, s3))
    keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "obs_bucket_name": bucket}
    try:
        await service.start()
        given = {
            "endpoint": f"http://127.0.0.1:{service.port}",
            "instance": service.options.instance_id,
            "sink": {**SINK, **keys},
            "source": {**PLAIN, "bootstrap_servers": kafka.bootstrap_servers},
            "topic": topic,
            "running": True,
        }
        await asyncio.to_thread(run_session, version, given)
    finally:
        await service.stop()
