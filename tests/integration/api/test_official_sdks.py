"""Official SDKs, unmodified, against the API over HTTP (api.md §10.1): every operation they have, every field back as sent, errors with
code and request id. The same session runs against the whole product in the end-to-end tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.api.serving import Served
from tests.support.sdk_env import SDK_VERSIONS, run_in_sdk
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


@pytest.mark.parametrize("version", SDK_VERSIONS)
def test_every_operation_of_the_sdk_works(api: Served, version: str) -> None:
    sink = {
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
    answer = run_in_sdk(
        version,
        SESSION,
        {
            "endpoint": api.url,
            "project": PROJECT,
            "access_key": "AK-EXAMPLE",
            "secret_key": "SK-EXAMPLE",
            "instance": INSTANCE,
            "disabled_instance": DISABLED_INSTANCE,
            "sink": sink,
            "topic": "orders",
            "prefix": "sdk",
            "running": False,
        },
    )
    called = {name for name in answer["called"] if " " not in name}
    assert called == ALWAYS | SINCE_147 - set(answer["missing"])
    assert (answer["missing"] == []) == (version != SDK_VERSIONS[0])
