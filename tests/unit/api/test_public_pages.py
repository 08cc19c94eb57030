"""Health, metrics, the OpenAPI document and the page that shows it."""

from __future__ import annotations

import json
import re

import pytest
from openapi_spec_validator import validate

from smartconnect.api import schemas, schemas_replication
from smartconnect.api.services import Readiness
from smartconnect.domain.fields import Text, Whole
from smartconnect.jobs.kafka_replication import request as replication
from smartconnect.jobs.obs_dump.request import OPTION_FIELDS, SINK_FIELDS
from tests.unit.api.kit import Client, Service

SDK_OPERATIONS = {
    "CreateConnectorTask",
    "ListConnectorTasks",
    "ShowConnectorTask",
    "ModifyConnectorTask",
    "DeleteConnectorTask",
    "PauseConnectorTask",
    "ResumeConnectorTask",
    "RestartConnectorTask",
    "RestartSmartConnectorTask",
    "ValidateConnectorConnectivity",
    "CreateConnector",
    "DeleteConnector",
    "ShowConnectorResourceInfo",
    "ShowInstance",
    "ShowConnectorTaskProgress",
}


async def test_readiness_tells_what_is_missing(client: Client, service: Service) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ready", "problems": []}
    service.readiness = Readiness(problems=("no worker answers",))
    answer = await client.get("/readyz")
    assert (answer.status, answer.json()["problems"]) == (503, ["no worker answers"])
    assert (await client.get("/healthz")).json() == {"status": "alive", "version": "0.1.0"}


async def test_metrics_are_prometheus_text(client: Client) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"up 1" in answer.body


async def test_the_document_is_valid_and_names_the_sdks_operations(client: Client) -> None:
    document = (await client.get("/openapi.json")).json()
    validate(document)
    names = {each["operationId"] for path in document["paths"].values() for each in path.values()}
    assert names == SDK_OPERATIONS | {"ShowAlive", "ShowReady"}


async def test_every_route_is_in_the_document(service: Service) -> None:
    document = (await service.client().get("/openapi.json")).json()
    served = {(route.path, method) for route in service.app.routes for method in route.methods if route.path.startswith("/v2")}
    assert served == {
        (path, method.upper()) for path, each in document["paths"].items() for method in each if path.startswith("/v2")
    }


async def test_the_page_needs_nothing_from_outside(client: Client) -> None:
    page, script, style = [(await client.get(path)) for path in ("/docs", "/docs/docs.js", "/docs/docs.css")]
    for part in (page, script, style):
        assert re.search(rb"https?://", part.body) is None
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert b"innerHTML" not in script.body


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (schemas.ObsSink, SINK_FIELDS),
        (schemas.ObsSinkChange, SINK_FIELDS),
        (schemas.DumpOptions, OPTION_FIELDS),
        (schemas_replication.ReplicationSource, replication.SOURCE_FIELDS),
        (schemas_replication.ReplicationSourceChange, replication.SOURCE_FIELDS),
        (schemas_replication.ReplicationOptions, replication.OPTION_FIELDS),
    ],
)
def test_the_documented_fields_are_those_that_are_read(model: type[schemas.BaseModel], fields: tuple[object, ...]) -> None:
    schema = model.model_json_schema()
    assert set(schema["properties"]) == {field.name for field in fields}  # type: ignore[attr-defined]
    for field in fields:
        text = json.dumps(schema["properties"][field.name])  # type: ignore[attr-defined]
        if isinstance(field, Whole):
            assert f'"minimum": {field.minimum}' in text
            assert field.maximum > 1 << 60 or f'"maximum": {field.maximum}' in text
        if isinstance(field, Text):
            assert all(json.dumps(str(choice)) in text for choice in field.choices)


def test_the_documented_answer_has_every_field_of_the_sink() -> None:
    shown = set(schemas.ObsSinkShown.model_json_schema()["properties"])
    assert {field.name for field in SINK_FIELDS} - {"access_key", "secret_key", "agency_name"} <= shown


def test_the_documented_answer_has_exactly_the_fields_of_the_source() -> None:
    shown = set(schemas_replication.ReplicationSourceShown.model_json_schema()["properties"])
    assert shown == {field.name for field in replication.SOURCE_FIELDS} - {"password"}
