"""How answers are written: JSON with real types, errors in the one documented shape (api.md §8)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from smartconnect.control.refusals import Refusal


def json_answer(content: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """ASCII JSON: nothing in it can break a client's decoding."""
    body = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    return Response(body, status_code=status, media_type="application/json", headers=dict(headers or {}))


def no_content() -> Response:
    return Response(status_code=204)


def refusal_answer(refusal: Refusal, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The error body; `errors` is there when fields are named."""
    content: dict[str, object] = {
        "error_code": refusal.error.code,
        "error_msg": refusal.message,
        "request_id": request_id,
    }
    if refusal.problems:
        content["errors"] = [{"field": problem.field, "reason": problem.reason} for problem in refusal.problems]
    return json_answer(content, refusal.error.status, headers)
