"""Control's answers as documented JSON (api.md §4.4, §6). `schemas.py` describes the same shapes."""

from __future__ import annotations

from smartconnect.control.connector import address_of, sasl_mechanisms
from smartconnect.control.ports import ConnectorState
from smartconnect.control.shown import ShownTask, TaskPage
from smartconnect.settings import InstanceSettings


def task_json(task: ShownTask) -> dict[str, object]:
    """`topics` or `topics_regex`, the other is left out; the unused side is {}."""
    content: dict[str, object] = {"task_name": task.name}
    if task.topics is not None:
        content["topics"] = task.topics
    if task.topics_regex is not None:
        content["topics_regex"] = task.topics_regex
    content |= {
        "source_type": task.source_type,
        "source_task": dict(task.source_task),
        "sink_type": task.sink_type,
        "sink_task": dict(task.sink_task),
    }
    if task.options is not None:
        content["options"] = dict(task.options)
    return content | {"id": task.id, "status": task.status.value, "create_time": task.create_time}


def page_json(page: TaskPage) -> dict[str, object]:
    return {
        "tasks": [task_json(task) for task in page.tasks],
        "total_number": page.total,
        "max_tasks": page.max_tasks,
        "quota_tasks": page.max_tasks,
    }


def instance_json(instance: InstanceSettings, connector: ConnectorState) -> dict[str, object]:
    """From settings and registry; the cluster is not asked, so its version and brokers are left out."""
    address = address_of(instance)
    return {
        "instance_id": instance.id,
        "name": instance.name,
        "engine": "kafka",
        "status": "RUNNING",
        "connect_address": address.hosts,
        "port": address.port,
        "ssl_enable": instance.security_protocol in ("SSL", "SASL_SSL"),
        "kafka_security_protocol": instance.security_protocol,
        "sasl_enabled_mechanisms": list(sasl_mechanisms(instance)),
        "connector_enable": connector.enabled,
        "connector_id": connector.connector_id if connector.enabled else "",
        "connector_node_num": connector.node_count if connector.enabled else 0,
    }
