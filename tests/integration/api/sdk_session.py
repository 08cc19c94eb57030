"""Runs inside an SDK's own environment, with nothing of ours importable: uses every operation that this version of the official SDK has
against one endpoint, and checks what comes back. Standard input: {"endpoint", "project", "access_key", "secret_key", "instance",
"disabled_instance", "sink" (a whole sink_task), "topic", "prefix"}. Standard output: what was called, as JSON. Any failure is a
traceback and a non-zero exit.
"""

from __future__ import annotations

import json
import sys
import time
import uuid

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, ServerResponseException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkkafka.v2 import KafkaClient
from huaweicloudsdkkafka.v2 import model as models

PATIENCE_S = 60
OPTIONAL = (
    "modify_connector_task",
    "restart_smart_connector_task",
    "show_connector_resource_info",
    "validate_connector_connectivity",
)


class Session:
    """One client, and the list of what it called."""

    def __init__(self, given: dict) -> None:
        self.given = given
        self.called: list[str] = []
        credentials = BasicCredentials(given["access_key"], given["secret_key"], given["project"])
        builder = KafkaClient.new_builder().with_credentials(credentials).with_endpoints([given["endpoint"]])
        self.client = builder.with_http_config(HttpConfig.get_default_config()).build()

    def has(self, operation: str) -> bool:
        return hasattr(self.client, operation)

    def call(self, operation: str, instance: str | None = None, **fields):
        """Call by the operation's name: the request's class is named after it."""
        name = "".join(part.capitalize() for part in operation.split("_")) + "Request"
        request = getattr(models, name)(instance_id=instance or self.given["instance"], **fields)
        response = getattr(self.client, operation)(request)
        assert response.status_code in (200, 204), (operation, response.status_code)
        self.called.append(operation)
        return response

    def refused(self, status: int, code: str, operation: str, error=ClientRequestException, **fields) -> None:
        """The call must fail with this status, code, and a request id."""
        try:
            self.call(operation, **fields)
        except error as refused:
            assert (refused.status_code, refused.error_code) == (status, code), refused
            assert len(refused.request_id) == 32, refused.request_id
            assert refused.error_msg
            self.called.append(f"{operation} {code}")
        else:
            raise AssertionError(f"{operation} was not refused")

    def status(self, task: str) -> str:
        return self.call("show_connector_task", task_id=task).status

    def wait(self, task: str, wanted: str, pending: tuple) -> None:
        """As Terraform polls, but without its pauses, so that no status on the way is missed: one that is neither wanted nor pending is an
        error."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = self.status(task)
            if seen == wanted:
                return
            assert seen in pending, f"{seen} while waiting for {wanted}"
            assert time.monotonic() < deadline, f"still {seen} after {PATIENCE_S} s, wanted {wanted}"


def create(session: Session, name: str, **changes) -> dict:
    """Create a task; every field must come back as it was sent, but secrets."""
    sink = {**session.given["sink"], **changes.pop("sink", {})}
    sent = {"task_name": name, "topics": session.given["topic"], "source_type": "NONE", "sink_type": "OBS_SINK", **changes}
    body = models.CreateSmartConnectTaskReq(sink_task=models.SmartConnectTaskReqSinkConfig(**sink), **sent)
    task = session.call("create_connector_task", body=body).to_dict()
    compare(task, sent, sink)
    shown = session.call("show_connector_task", task_id=task["id"]).to_dict()
    compare(shown, sent, sink)
    assert shown["id"] == task["id"]
    assert isinstance(shown["create_time"], int)
    return shown


def compare(task: dict, sent: dict, sink: dict) -> None:
    for field, value in sent.items():
        if field != "start_later":
            assert task[field] == value, (field, task[field], value)
    for field, value in sink.items():
        if field in ("access_key", "secret_key"):
            assert field not in task["sink_task"], field
        else:
            assert task["sink_task"][field] == value, (field, task["sink_task"][field], value)
    assert task["sink_task"]["obs_part_size"] == 5242880
    assert task["sink_task"]["flush_size"] == 1000000
    assert task["sink_task"]["timezone"] == "Asia/Chongqing"
    assert task["sink_task"]["kv_delimiter"] == ":"


def tasks(session: Session) -> None:
    given = session.given
    name = f"sdk-{uuid.uuid4().hex[:8]}"
    first = create(session, name)
    listed = session.call("list_connector_tasks", offset=0, limit=50)
    assert first["id"] in [task.id for task in listed.tasks]
    assert listed.total_number >= 1
    assert listed.max_tasks >= listed.total_number
    assert session.call("list_connector_tasks", offset=1000, limit=1).tasks == []
    later = create(session, f"{name}-later", start_later=True, sink={"obs_path": f"{given['prefix']}-later", "store_keys": True})
    assert later["status"] == "WAITING"
    if given.get("running"):
        session.wait(first["id"], "RUNNING", ("CREATING",))
    session.call("pause_connector_task", task_id=first["id"])
    session.wait(first["id"], "PAUSED", ("RUNNING",))
    session.call("resume_connector_task", task_id=first["id"])
    if given.get("running"):
        session.wait(first["id"], "RUNNING", ("PAUSED",))
    session.call("restart_connector_task", task_id=first["id"])
    session.call("restart_connector_task", task_id=later["id"])
    if given.get("running"):
        session.wait(first["id"], "RUNNING", ("RESTARTING",))
        session.wait(later["id"], "RUNNING", ("WAITING",))
    newer_calls(session, first, later)
    refusals(session, first["id"], name)
    for task in (first, later):
        session.call("delete_connector_task", task_id=task["id"])
        session.refused(404, "DMS.00404026", "show_connector_task", task_id=task["id"])
        session.refused(404, "DMS.00404026", "delete_connector_task", task_id=task["id"])


def replication(session: Session) -> None:
    """A Kafka replication that waits for its start: every field must come back as it was sent, but the password."""
    sent, source = {"topics": session.given["topic"], "source_type": "KAFKA_REPLICATOR_SOURCE"}, session.given["source"]
    name = f"sdk-copy-{uuid.uuid4().hex[:8]}"
    body = models.CreateSmartConnectTaskReq(
        task_name=name, start_later=True, source_task=models.SmartConnectTaskReqSourceConfig(**source), **sent
    )
    task = session.call("create_connector_task", body=body).to_dict()
    for shown in (task, session.call("show_connector_task", task_id=task["id"]).to_dict()):
        assert (shown["task_name"], shown["status"], shown["sink_type"]) == (name, "WAITING", "NONE")
        assert {field: shown[field] for field in sent} == sent
        assert "password" not in shown["source_task"]
        for field, value in source.items():
            assert field == "password" or shown["source_task"][field] == value, (field, shown["source_task"][field], value)
    session.call("delete_connector_task", task_id=task["id"])


def newer_calls(session: Session, task: dict, other: dict) -> None:
    """What only later versions have."""
    if session.has("restart_smart_connector_task"):
        session.call("restart_smart_connector_task", task_id=other["id"])
    if session.has("modify_connector_task"):
        before = session.call("show_connector_task", task_id=task["id"])
        entity = models.SmartConnectTaskEntity(
            **{name: getattr(before, name) for name in models.SmartConnectTaskEntity.openapi_types}
        )
        unchanged = session.call("modify_connector_task", task_id=task["id"], body=entity).to_dict()
        assert unchanged["sink_task"] == before.to_dict()["sink_task"]
        change = models.SmartConnectTaskEntity(sink_task=models.SmartConnectTaskRespSinkConfig(deliver_time_interval=120))
        changed = session.call("modify_connector_task", task_id=task["id"], body=change).to_dict()
        assert changed["sink_task"]["deliver_time_interval"] == 120
    if session.has("validate_connector_connectivity"):
        entity = models.SmartConnectValidateEntity(type="OBS_SINK", task=session.given["sink"])
        session.call("validate_connector_connectivity", body=entity)
        entity = models.SmartConnectValidateEntity(type="nonsense", task=session.given["sink"])
        session.refused(400, "DMS.00400007", "validate_connector_connectivity", body=entity)


def refusals(session: Session, task: str, name: str) -> None:
    sink = models.SmartConnectTaskReqSinkConfig(**session.given["sink"])
    body = models.CreateSmartConnectTaskReq(task_name=name, topics=session.given["topic"], sink_type="OBS_SINK", sink_task=sink)
    session.refused(400, "DMS.00400867", "create_connector_task", body=body)
    body = models.CreateSmartConnectTaskReq(task_name="a b", topics="", sink_type="OBS_SINK", sink_task=sink)
    session.refused(400, "DMS.00400062", "create_connector_task", body=body)
    session.refused(400, "DMS.00400070", "show_connector_task", task_id="no-uuid")
    session.refused(404, "DMS.00404026", "show_connector_task", task_id=str(uuid.uuid4()))
    session.refused(404, "DMS.00404022", "list_connector_tasks", instance=str(uuid.uuid4()))
    session.refused(400, "DMS.10240042", "list_connector_tasks", limit=51)
    session.refused(404, "DMS.00404027", "create_connector", body=models.CreateConnectorReq())
    session.refused(500, "DMS.00501012", "delete_connector", error=ServerResponseException)


def connector(session: Session) -> None:
    instance = session.given["disabled_instance"]
    count = 2 if models.CreateConnectorReq.openapi_types["node_cnt"] == "int" else "2"
    enabled = session.call("create_connector", instance, body=models.CreateConnectorReq(node_cnt=count))
    assert enabled.job_id
    assert enabled.connector_id
    shown = session.call("show_instance", instance)
    assert (shown.connector_enable, shown.connector_id, shown.connector_node_num) == (True, enabled.connector_id, 2)
    assert (shown.instance_id, shown.engine, shown.status) == (instance, "kafka", "RUNNING")
    if session.has("show_connector_resource_info"):
        assert session.call("show_connector_resource_info", instance).sold_out is False
    assert session.call("delete_connector", instance).job_id
    session.refused(404, "DMS.00404024", "list_connector_tasks", instance=instance)


def signatures(session: Session) -> None:
    wrong = Session({**session.given, "secret_key": "wrong"})
    wrong.refused(401, "APIGW.0301", "list_connector_tasks")
    session.called += wrong.called


def main() -> None:
    session = Session(json.load(sys.stdin))
    tasks(session)
    replication(session)
    connector(session)
    signatures(session)
    json.dump({"called": session.called, "missing": [name for name in OPTIONAL if not session.has(name)]}, sys.stdout)


if __name__ == "__main__":
    main()
