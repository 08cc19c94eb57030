"""Requests and answers the other way round: a broker reads what clients write. Kafka's schemas come with `Api`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smartconnect.kafka import messages
from smartconnect.kafka.messages import Api
from tests.support.kafka_api import Request


def request_fields(api: Api, request: Request) -> Any:
    """The request's fields as attributes; MalformedData, ValueError or an error of the schema where bytes do not fit."""
    flexible = request.api_version >= api.flexible_from
    return api.request.decode(memoryview(request.body[1 if flexible else 0 :]), version=request.api_version)


def answer_frame(api: Api, request: Request, fields: Mapping[str, object]) -> bytes:
    """All bytes of an answer behind its length; ApiVersions has a v0 header always (KIP-511)."""
    version = request.api_version
    tags = b"\0" if version >= api.flexible_from and api is not messages.API_VERSIONS else b""
    answer = api.response(version=version, **_structures(api.response, fields))
    return request.correlation_id.to_bytes(4, "big") + tags + bytes(answer.encode(version=version))


def _structures(owner: Any, fields: Mapping[str, object]) -> dict[str, object]:
    """With the schema's own classes where dicts are."""
    return {name: _structure(owner._struct.fields[name], value) for name, value in fields.items()}


def _structure(field: Any, value: object) -> object:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [field.data_class(**_structures(field.data_class, item)) for item in value]
    return value
