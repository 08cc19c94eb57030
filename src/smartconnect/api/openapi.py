"""The OpenAPI document, made from the table of operations and the models of `schemas.py`; it holds no server and no example secret."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from smartconnect.api import schemas
from smartconnect.api.operations import Operation

REF = "#/components/schemas/{model}"
REFUSALS = {
    400: "The request is refused; `errors` names the fields.",
    401: "Nobody is authenticated.",
    403: "The caller may not do this.",
    404: "No such instance, connector or task; or the quota is reached.",
    405: "The path exists, the method does not.",
    413: "The body is larger than 1 MiB.",
    500: "Internal error, or tasks exist.",
    503: "The registry does not answer; try again.",
}
REQUEST_ID_HEADER = {"X-Request-Id": {"description": "Also in the log.", "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}}
PATH_PARAMETERS = {
    "project_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "instance_id": {"type": "string", "minLength": 1},
    "task_id": {"type": "string", "format": "uuid"},
}


def openapi_document(operations: Sequence[Operation], version: str) -> bytes:
    """The document as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for path, name, answers in _UNSIGNED:
        paths[path] = {"get": _unsigned(name, answers)}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Smart Connect", "version": version, "description": "Moves data between Kafka and other systems."},
        "paths": paths,
        "components": {"schemas": _schemas(operations), "securitySchemes": _SECURITY},
    }
    return json.dumps(document, separators=(",", ":")).encode()


_SECURITY = {
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "SDK-HMAC-SHA256 Access=…, SignedHeaders=…, Signature=… with X-Sdk-Date",
    },
    "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
}

_UNSIGNED: Sequence[tuple[str, str, dict[str, Any]]] = (
    ("/healthz", "Alive", {"200": ("Alive", "The process answers.")}),
    ("/readyz", "Ready", {"200": ("Ready", "Registry and workers are usable."), "503": ("Ready", "They are not.")}),
)


def _operation(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": [{"signature": []}, {"token": []}],
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.body is not None:
        content["requestBody"] = {"required": operation.body_required, "content": _json(operation.body.__name__)}
    return content


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in PATH_PARAMETERS.items()
        if f"{{{name}}}" in operation.path
    ]
    query = [
        {"name": each.name, "in": "query", "required": False, "schema": each.schema, "description": each.description}
        for each in operation.query
    ]
    return path + query


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Successful.", "headers": REQUEST_ID_HEADER}
    if operation.answer is not None:
        success["content"] = _json(operation.answer.__name__)
    refused = {
        str(status): {"description": description, "headers": REQUEST_ID_HEADER, "content": _json("Error")}
        for status, description in REFUSALS.items()
    }
    return {str(operation.success): success, **refused}


def _unsigned(model: str, answers: dict[str, tuple[str, str]]) -> dict[str, Any]:
    responses = {
        status: {"description": description, "headers": REQUEST_ID_HEADER, "content": _json(answer)}
        for status, (answer, description) in answers.items()
    }
    return {"operationId": f"Show{model}", "summary": answers["200"][1], "security": [], "responses": responses}


def _json(model: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REF.format(model=model)}}}


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    sent = {operation.body for operation in operations if operation.body is not None}
    answered = {operation.answer for operation in operations if operation.answer is not None}
    answered |= {schemas.Error, schemas.Ready, schemas.Alive}
    models: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in sorted(sent, key=lambda each: each.__name__)]
    models += [(model, "validation") for model in sorted(answered, key=lambda each: each.__name__)]
    _, definitions = models_json_schema(models, ref_template=REF)
    return dict(definitions["$defs"])
