"""Which S3 operation an HTTP request is, read from method, path and query as the API reference lists them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Operation(StrEnum):
    """The operations that tests name; `ANY` is for rules that mean all."""

    ANY = "any"
    LIST_BUCKETS = "ListBuckets"
    HEAD_BUCKET = "HeadBucket"
    CREATE_BUCKET = "CreateBucket"
    DELETE_BUCKET = "DeleteBucket"
    GET_BUCKET_LOCATION = "GetBucketLocation"
    LIST_OBJECTS = "ListObjects"
    LIST_OBJECTS_V2 = "ListObjectsV2"
    LIST_MULTIPART_UPLOADS = "ListMultipartUploads"
    DELETE_OBJECTS = "DeleteObjects"
    PUT_OBJECT = "PutObject"
    COPY_OBJECT = "CopyObject"
    GET_OBJECT = "GetObject"
    HEAD_OBJECT = "HeadObject"
    DELETE_OBJECT = "DeleteObject"
    CREATE_MULTIPART_UPLOAD = "CreateMultipartUpload"
    UPLOAD_PART = "UploadPart"
    UPLOAD_PART_COPY = "UploadPartCopy"
    LIST_PARTS = "ListParts"
    COMPLETE_MULTIPART_UPLOAD = "CompleteMultipartUpload"
    ABORT_MULTIPART_UPLOAD = "AbortMultipartUpload"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class S3Request:
    """What a rule may look at before the body has been read."""

    operation: Operation
    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


_OF_UPLOAD = {
    "PUT": Operation.UPLOAD_PART,
    "GET": Operation.LIST_PARTS,
    "POST": Operation.COMPLETE_MULTIPART_UPLOAD,
    "DELETE": Operation.ABORT_MULTIPART_UPLOAD,
}
_OF_OBJECT = {
    "PUT": Operation.PUT_OBJECT,
    "GET": Operation.GET_OBJECT,
    "HEAD": Operation.HEAD_OBJECT,
    "DELETE": Operation.DELETE_OBJECT,
}
_OF_BUCKET = {
    "PUT": Operation.CREATE_BUCKET,
    "GET": Operation.LIST_OBJECTS,
    "HEAD": Operation.HEAD_BUCKET,
    "DELETE": Operation.DELETE_BUCKET,
}
_OF_BUCKET_QUERY = {
    ("GET", "uploads"): Operation.LIST_MULTIPART_UPLOADS,
    ("GET", "location"): Operation.GET_BUCKET_LOCATION,
    ("POST", "delete"): Operation.DELETE_OBJECTS,
}
_SUBRESOURCES = {"acl", "cors", "lifecycle", "object-lock", "policy", "tagging", "versioning", "website", "attributes"}


def recognise(method: str, host: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> S3Request:
    """Path-style for addresses and `localhost`, virtual-hosted for other names. `path` is decoded; headers in lower case."""
    name = host.rsplit(":", 1)[0]
    segments = path.removeprefix("/")
    if _is_address(name):
        bucket, _, key = segments.partition("/")
    else:
        bucket, key = name.split(".", 1)[0], segments
    operation = _operation(method, bucket, key, query, "x-amz-copy-source" in headers)
    return S3Request(operation, method, bucket, key, query, headers)


def _operation(method: str, bucket: str, key: str, query: Mapping[str, str], copies: bool) -> Operation:
    if not bucket:
        return Operation.LIST_BUCKETS if method == "GET" else Operation.OTHER
    if not _SUBRESOURCES.isdisjoint(query):
        return Operation.OTHER
    if key:
        return _on_object(method, query, copies)
    for (verb, name), operation in _OF_BUCKET_QUERY.items():
        if verb == method and name in query:
            return operation
    if method == "GET" and query.get("list-type") == "2":
        return Operation.LIST_OBJECTS_V2
    return _OF_BUCKET.get(method, Operation.OTHER)


def _on_object(method: str, query: Mapping[str, str], copies: bool) -> Operation:
    if method == "POST" and "uploads" in query:
        return Operation.CREATE_MULTIPART_UPLOAD
    operation = (_OF_UPLOAD if "uploadId" in query else _OF_OBJECT).get(method, Operation.OTHER)
    if copies and operation is Operation.UPLOAD_PART:
        return Operation.UPLOAD_PART_COPY
    if copies and operation is Operation.PUT_OBJECT:
        return Operation.COPY_OBJECT
    return operation


def _is_address(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
