"""A Kafka replication's configuration as the API returns it (api.md §4.2, §4.4): every field of the table, defaults filled in, what the
peer's instance says, strings exactly as sent, and never the password. A shown task sent back to modify changes nothing. Called by the
job object for create, show, modify and list.
"""

from __future__ import annotations

from collections.abc import Mapping

from smartconnect.domain.task import TaskConfig
from smartconnect.jobs.kafka_replication.peers import Find, reach
from smartconnect.jobs.kafka_replication.request import DEFAULTS, RESOLVED_IDS


def shown(config: TaskConfig, find: Find) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """(source_task, sink_task): the unused side is {}. `replication_factor` is None while no target has told how many brokers it has."""
    values = config.source_task
    instance_id = str(values.get("instance_id", ""))
    how = reach(values, find(instance_id) if instance_id else None)
    source = {
        "instance_id": instance_id,
        "current_cluster_name": "",
        "cluster_name": "",
        "direction": "",
        "replication_factor": None,
        **DEFAULTS,
        **{name: value for name, value in values.items() if name not in RESOLVED_IDS},
        "bootstrap_servers": how.bootstrap_servers,
        "security_protocol": how.security_protocol,
        "sasl_mechanism": how.sasl_mechanism,
        "user_name": how.user_name,
    }
    return source, {}
