"""The error tree of the service. Every error of ours derives from `SmartConnectError` and carries a sentence for the user:
what failed, where, what to do. `code` is a stable snake_case name, shown in progress, metrics and logs.

    SmartConnectError
    ├── Retryable              waiting may cure it; the supervisor backs off and runs the unit again from its stored position
    │   ├── ClusterUnreachable     no broker of a Kafka cluster answers
    │   ├── AuthenticationFailed   a cluster or store refuses our credentials; cured by a modification
    │   ├── PermissionMissing      a right is missing; the sentence names it
    │   ├── TargetUnreachable      the store or target does not answer
    │   ├── TargetRefused          the store answers, but refuses (bucket gone, quota, key revoked)
    │   └── RegistryUnreachable    the registry does not answer
    │       └── RegistryBusy           another process holds it
    ├── Fatal                  concerns the whole task and waiting cannot cure it: the task shows FAILED
    │   └── SecretUnreadable       a sealed secret cannot be opened with the keys of this service
    ├── Fenced                 somebody newer may own the unit: stop at once, touch nothing
    ├── PartitionBlocked       concerns one partition: it stands still, the others go on
    ├── MalformedData          bytes from outside are not what their format promises
    ├── SettingsInvalid        the settings file or the environment is wrong
    └── SandboxFailed          a server of the sandbox cannot be installed, started or stopped

What a caller of the API did wrong is not in this tree's leaves but in `control.refusals`: a refusal has an API code and fields.
"""

from __future__ import annotations


class SmartConnectError(Exception):
    """Base of all our errors. `str(error)` is the sentence for the user; it never contains a secret."""

    code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class Retryable(SmartConnectError):
    """Waiting may cure this. Raised by a unit, it makes the supervisor back off and run again from the stored position."""

    code = "retrying"


class ClusterUnreachable(Retryable):
    """No broker of the cluster answers; the sentence names the cluster's addresses and the last cause. `setting`: the one of the connection
    that is to be looked at first."""

    code = "cluster_unreachable"

    def __init__(self, message: str, *, setting: str = "bootstrap_servers") -> None:
        super().__init__(message)
        self.setting = setting


class AuthenticationFailed(Retryable):
    """Credentials are refused, ours or theirs. Retried slowly, and at once when the task or the settings change. `setting`: as above."""

    code = "authentication_failed"

    def __init__(self, message: str, *, setting: str = "user_name") -> None:
        super().__init__(message)
        self.setting = setting


class PermissionMissing(Retryable):
    """A right is missing; the sentence names operation and resource."""

    code = "permission_missing"


class TargetUnreachable(Retryable):
    """The target (an object store, a Redis) does not answer."""

    code = "target_unreachable"


class TargetRefused(Retryable):
    """The target answers and refuses: bucket gone, key revoked, quota used up."""

    code = "target_refused"


class RegistryUnreachable(Retryable):
    """The registry does not answer. Running units go on; nothing can be taken over or acted on meanwhile."""

    code = "registry_unreachable"


class RegistryBusy(RegistryUnreachable):
    """Another process holds a lock on the registry for longer than a statement waits."""


class Fatal(SmartConnectError):
    """Waiting cannot cure this and it concerns the whole task: the task shows FAILED with this sentence."""

    code = "failed"


class SecretUnreadable(Fatal):
    """A sealed secret cannot be opened: another key, or the value was damaged or moved. Cured by sending the secret again."""

    code = "secret_unreadable"


class Fenced(SmartConnectError):
    """Somebody newer may own the unit. The incarnation ends at once and touches nothing."""

    code = "fenced"


class PartitionBlocked(SmartConnectError):
    """One partition cannot go on until somebody acts; the sentence says who and how."""

    code = "partition_blocked"


class MalformedData(SmartConnectError):
    """Bytes from outside break their own format. Bounded in memory by whoever raises it."""

    code = "malformed_data"


class SettingsInvalid(SmartConnectError):
    """The settings are unusable; the sentence names the key."""

    code = "settings_invalid"


class SandboxFailed(SmartConnectError):
    """A server of the sandbox cannot be installed, started or stopped; the sentence ends with the tail of its log."""

    code = "sandbox_failed"
