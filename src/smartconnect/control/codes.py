"""Every refusal that the API knows: HTTP status, code and sentence, in the order of api.md §8. Control and the API raise them by name;
the reference of errors is generated from this list.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiError:
    """One row. `sentence` without its full stop: what follows it in `error_msg` is a colon and the reasons."""

    status: int
    code: str
    sentence: str


PROJECT_ID_FORM = ApiError(400, "DMS.00400002", "The project ID format is invalid")
BODY_EMPTY = ApiError(400, "DMS.00400004", "The request body is empty")
BODY_FORM = ApiError(400, "DMS.00400005", "The message body is not in JSON format or contains invalid characters")
UNSUPPORTED_TYPE = ApiError(400, "DMS.00400007", "Unsupported type")
INSTANCE_ID_FORM = ApiError(400, "DMS.00400030", "Invalid DMS instance id. The id must be a uuid")
INVALID_PARAMETER = ApiError(400, "DMS.00400062", "Invalid request parameter")
TASK_ID_FORM = ApiError(400, "DMS.00400070", "Invalid task ID format")
BODY_CHARACTERS = ApiError(
    400, "DMS.00400085", "The message body contains invalid characters or is not in JSON format. The error key is {key}"
)
REPLICATION_FACTOR = ApiError(400, "DMS.00400861", "Replication factor larger than available brokers")
CREATE_FAILED = ApiError(400, "DMS.00400867", "Failed to create the Smart Connect task")
PAUSE_FAILED = ApiError(400, "DMS.00400868", "Failed to stop the Smart Connect task")
RESUME_FAILED = ApiError(400, "DMS.00400869", "Failed to start the Smart Connect task")
VALIDATE_FAILED = ApiError(400, "DMS.00400870", "Failed to verify the Smart Connect task")
RESTART_FAILED = ApiError(400, "DMS.00400872", "Failed to restart the Smart Connect task")
MODIFY_FAILED = ApiError(400, "DMS.00400873", "Failed to modify the Smart Connect task")
TOPIC_IN_USE = ApiError(400, "DMS.00400874", "The topic has been used in another Smart Connect task")
REDIS_TYPES = ApiError(400, "DMS.00400875", "Inconsistent source and target Redis instance types in the Smart Connect task")
TOPIC_MISSING = ApiError(400, "DMS.00400876", "The topic does not exist")
KAFKA_CONFIG = ApiError(400, "DMS.40001016", "Invalid Kafka config for connector")
STORE_CREDENTIALS = ApiError(400, "DMS.00500960", "Invalid user AK/SK")
PAGE_TOO_LARGE = ApiError(400, "DMS.10240042", "The number of records on each page for pagination query exceeds the upper limit")
OFFSET_TOO_LARGE = ApiError(400, "DMS.10240043", "The number of skipped records for pagination query exceeds the upper limit")
SIGNATURE_WRONG = ApiError(401, "APIGW.0301", "Incorrect IAM authentication information: verify aksk signature fail")
CREDENTIALS_MISSING = ApiError(401, "APIGW.0301", "Incorrect IAM authentication information: x-auth-token not found")
TOKEN_INVALID = ApiError(401, "DMS.10240101", "Invalid token")
TOKEN_EXPIRED = ApiError(401, "DMS.10240102", "Expired token")
TOKEN_MISSING = ApiError(401, "DMS.10240103", "Missing token")
TOKEN_PROJECT = ApiError(401, "DMS.10240104", "The project ID and token do not match")
READ_ONLY = ApiError(403, "DMS.00403002", "A tenant has the read-only permission and cannot perform operations on DMS")
PROJECT_NOT_ALLOWED = ApiError(403, "DMS.00403003", "This role does not have the permissions to perform this operation")
NO_SUCH_URL = ApiError(404, "DMS.00404001", "The requested URL does not exist")
NO_SUCH_INSTANCE = ApiError(404, "DMS.00404022", "This instance does not exist")
CONNECTOR_MISSING = ApiError(404, "DMS.00404024", "Connector does not exist")
NO_SUCH_TASK = ApiError(404, "DMS.00404026", "The dumping task does not exist")
CONNECTOR_EXISTS = ApiError(404, "DMS.00404027", "Connector already exists")
QUOTA_REACHED = ApiError(404, "DMS.00404029", "The dumping task quota has been reached")
METHOD_NOT_ALLOWED = ApiError(405, "DMS.00405001", "This request method is not allowed")
BODY_TOO_LARGE = ApiError(413, "APIGW.0201", "Request entity too large")
INTERNAL = ApiError(500, "DMS.00500000", "Internal service error")
TASKS_EXIST = ApiError(500, "DMS.00501012", "Smart Connect tasks exist")
REGISTRY_AWAY = ApiError(
    503, "DMS.00500000", "Internal service error, the registry does not answer; running tasks go on, try again"
)

ALL_ERRORS: tuple[ApiError, ...] = tuple(row for row in list(globals().values()) if isinstance(row, ApiError))
