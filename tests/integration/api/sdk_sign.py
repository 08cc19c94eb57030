"""Runs inside an SDK's environment: signs the requests on standard input with the SDK's own signer, and writes what would go over the
wire (header values as bytes, in base64)."""

from __future__ import annotations

import base64
import json
import sys
import time

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer


def signed(signer: Signer, wanted: dict) -> dict:
    request = SdkRequest(
        method=wanted["method"],
        schema="http",
        host="127.0.0.1:8080",
        resource_path=wanted["path"],
        query_params=[tuple(pair) for pair in wanted["query"]],
        header_params=dict(wanted["headers"]),
        body=wanted["body"],
    )
    made = signer.sign(request)
    body = made.body if isinstance(made.body, bytes) else (made.body or "").encode()
    return {
        "uri": made.uri,
        "headers": {name: base64.b64encode(value.encode("latin-1")).decode() for name, value in made.header_params.items()},
        "body": base64.b64encode(body).decode(),
        "now_s": time.time(),
    }


def main() -> None:
    given = json.load(sys.stdin)
    signer = Signer(BasicCredentials(given["access_key"], given["secret_key"], "project"))
    json.dump([signed(signer, wanted) for wanted in given["requests"]], sys.stdout)


if __name__ == "__main__":
    main()
