"""The settings, typed: one frozen pydantic model for each section of the file, and the rules between sections. `settings_load` makes
them from a TOML file and `SMARTCONNECT_…` variables, `settings_watch` reads them again. Secrets are `Secret`; in the file each may
come from `<key>_env` or `<key>_file` instead. Other packages import the types only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from smartconnect.domain import kafka_replication_spec as replication
from smartconnect.domain.obs_dump_spec import OnLostUpload
from smartconnect.domain.policies import OnGap
from smartconnect.domain.secret import Secret

SecretField = Annotated[
    Secret,
    BeforeValidator(lambda value: value if isinstance(value, Secret) else Secret(str(value))),
    PlainSerializer(lambda _: "***"),
]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class AccessKeySettings(Section):
    """One caller that signs its requests (api.md §3)."""

    access_key: str = Field(min_length=1)
    secret_key: SecretField
    project_ids: tuple[str, ...] = ("*",)
    read_only: bool = False


class TokenSettings(Section):
    """One caller that sends X-Auth-Token (api.md §3)."""

    token: SecretField
    project_ids: tuple[str, ...] = ("*",)
    expires: datetime | None = None
    read_only: bool = False


class ApiSettings(Section):
    """Where the API listens, and who may call."""

    listen: str = "127.0.0.1:8080"
    tls_cert_file: str = ""
    tls_key_file: str = ""
    behind_proxy: bool = False
    auth: Literal["aksk", "none"] = "aksk"
    access_keys: tuple[AccessKeySettings, ...] = ()
    tokens: tuple[TokenSettings, ...] = ()

    def address(self) -> tuple[str, int]:
        """(host, port) of `listen`; "[::1]:8080" gives "::1". ValueError for another form."""
        host, colon, port = self.listen.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise ValueError(f"{self.listen!r} is not host:port")
        return host.removeprefix("[").removesuffix("]"), int(port)


class ControlSettings(Section):
    """Limits of what a user can ask for."""

    max_tasks: int = Field(default=18, ge=1, le=10_000)
    check_connections: bool = True
    check_timeout_s: float = Field(default=10, ge=0.1, le=300)
    allowed_targets: tuple[str, ...] = ()


class RegistrySettings(Section):
    """Where tasks are kept. `key` (the sealing key as text; in the environment: `key_env`) goes before `key_file`."""

    url: str = "sqlite:///smart-connect.db"
    key_file: str = "smart-connect.key"
    key: SecretField = Secret("")


class WorkersSettings(Section):
    """How many worker processes this machine runs (None: its cores), and who hands out slots."""

    count: int | None = Field(default=None, ge=1, le=256)
    coordination: Literal["local", "kafka"] = "local"


class KafkaConnectionSettings(Section):
    """How to reach a Kafka cluster."""

    bootstrap_servers: str = Field(min_length=1)
    security_protocol: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user_name: str = ""
    password: SecretField = Secret("")
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class CoordinationSettings(KafkaConnectionSettings):
    """The cluster that holds `__smartconnect_slots`."""


class InstanceSettings(KafkaConnectionSettings):
    """One Kafka cluster that `{instance_id}` can name."""

    id: str = Field(min_length=1)
    project_id: str
    name: str = ""
    rack: str = ""
    connector_enabled: bool = True


class RedisInstanceSettings(Section):
    """One Redis that `dcs_instance_id` can name."""

    id: str = Field(min_length=1)
    redis_address: str = Field(min_length=1)
    redis_type: Literal["standalone", "cluster", "sentinel"] = "standalone"
    redis_user: str = ""
    redis_password: SecretField = Secret("")
    ca_file: str = ""


class BucketSettings(Section):
    """Where one bucket lives, if not at `[obs] endpoint`."""

    endpoint: str
    region: str = "cn-north-4"
    addressing: Literal["auto", "virtual", "path"] = "auto"
    ca_file: str = ""


class ObsSettings(Section):
    """The object store; `buckets` overrides it for single buckets."""

    endpoint: str = ""
    region: str = "cn-north-4"
    addressing: Literal["auto", "virtual", "path"] = "auto"
    ca_file: str = ""
    buckets: dict[str, BucketSettings] = Field(default_factory=dict)

    def location_of(self, bucket: str) -> BucketSettings:
        """Endpoint, region and addressing of a bucket."""
        own = self.buckets.get(bucket)
        if own is not None:
            return own
        return BucketSettings(endpoint=self.endpoint, region=self.region, addressing=self.addressing, ca_file=self.ca_file)


class ObsDumpSettings(Section):
    """Defaults of all dumps (obs-dump.md §11). The first four, and `step_log` (a file that gets
    the protocol's steps as JSON lines), are *per worker*; a task may override the others in `options`."""

    memory_mb: int = Field(default=256, ge=64)
    parts_in_flight: int = Field(default=4, ge=1, le=64)
    min_part_bytes: int = Field(default=5_242_880, ge=102_400)
    control_requests: int = Field(default=16, ge=1, le=256)
    commit_interval_ms: int = Field(default=100, ge=10, le=60_000)
    refresh_interval_s: float = Field(default=10, ge=0.2, le=3600)
    max_object_bytes: int = Field(default=1 << 30, ge=1024)
    jitter: float = Field(default=0.1, ge=0, le=0.5)
    drain_timeout_s: float = Field(default=30, ge=0, le=600)
    part_integrity: Literal["auto", "crc32c", "md5", "none"] = "auto"
    on_lost_upload: OnLostUpload = OnLostUpload.REDELIVER
    on_gap: OnGap = OnGap.CONTINUE
    janitor_min_age_s: int = Field(default=3600, ge=0)
    step_log: str = ""


class KafkaReplicationSettings(Section):
    """Defaults of all Kafka replications (kafka-replication.md §13). `buffer_mb` and `step_log` (a file that gets the protocol's steps
    as JSON lines) are *per worker*, `peer_ca_file` is the whole service's; a task may override the others in `options`."""

    delivery: replication.Delivery = replication.Delivery.EXACTLY_ONCE
    commit_min_ms: int = Field(default=20, ge=0, le=60_000)
    commit_interval_ms: int = Field(default=200, ge=1, le=60_000)
    transaction_timeout_ms: int = Field(default=30_000, ge=1_000, le=900_000)
    refresh_interval_s: float = Field(default=10, ge=0.2, le=3600)
    config_sync_interval_s: float = Field(default=60, ge=0.2, le=86_400)
    group_sync_interval_s: float = Field(default=10, ge=0.2, le=86_400)
    groups_include: str = ".*"
    groups_exclude: str = "console-consumer-.*,connect-.*,__.*"
    sync_topic_configs: bool = False
    on_gap: OnGap = OnGap.CONTINUE
    on_rejected_record: replication.OnRejectedRecord = replication.OnRejectedRecord.STOP
    timestamps: replication.Timestamps = replication.Timestamps.SEEN
    buffer_mb: int = Field(default=64, ge=16, le=65_536)
    produce_connections: int = Field(default=2, ge=1, le=4)
    mm2_topics: bool = False
    heartbeats: bool = False
    drain_timeout_s: float = Field(default=10, ge=0, le=600)
    peer_ca_file: str = ""
    step_log: str = ""


class Settings(Section):
    """The whole file."""

    api: ApiSettings = ApiSettings()
    control: ControlSettings = ControlSettings()
    registry: RegistrySettings = RegistrySettings()
    workers: WorkersSettings = WorkersSettings()
    coordination: CoordinationSettings | None = None
    instances: tuple[InstanceSettings, ...] = ()
    redis_instances: tuple[RedisInstanceSettings, ...] = ()
    obs: ObsSettings = ObsSettings()
    obs_dump: ObsDumpSettings = ObsDumpSettings()
    kafka_replication: KafkaReplicationSettings = KafkaReplicationSettings()

    def instance(self, instance_id: str) -> InstanceSettings | None:
        """The configured instance of this id."""
        return next((instance for instance in self.instances if instance.id == instance_id), None)


def rule_problems(settings: Settings) -> Iterator[str]:
    """What is wrong between keys, one sentence each, beginning with the key."""
    yield from _listener_problems(settings.api)
    yield from _caller_problems(settings.api)
    yield from _duplicates("instances", "id", (item.id for item in settings.instances))
    yield from _duplicates("redis_instances", "id", (item.id for item in settings.redis_instances))
    if settings.workers.coordination == "kafka":
        if settings.coordination is None:
            yield 'coordination.bootstrap_servers: needed for workers.coordination = "kafka"'
        if settings.registry.url.startswith("sqlite"):
            yield 'registry.url: workers.coordination = "kafka" needs PostgreSQL, a file cannot be shared by machines'
    named: list[tuple[str, KafkaConnectionSettings]] = [(f"instances[{n}]", item) for n, item in enumerate(settings.instances)]
    if settings.coordination is not None:
        named.append(("coordination", settings.coordination))
    for key, connection in named:
        yield from _connection_problems(key, connection)


def _listener_problems(api: ApiSettings) -> Iterator[str]:
    try:
        host, _ = api.address()
    except ValueError as error:
        yield f"api.listen: {error}"
        return
    if bool(api.tls_cert_file) != bool(api.tls_key_file):
        yield "api.tls_cert_file: tls_cert_file and tls_key_file are needed together"
    if not is_loopback(host):
        if not api.tls_cert_file and not api.behind_proxy:
            yield f"api.listen: {api.listen} is beyond loopback without TLS; set api.tls_cert_file, or api.behind_proxy = true"
        if api.auth == "none":
            yield f'api.auth: "none" is only accepted on a loopback address, api.listen is {api.listen}'


def _caller_problems(api: ApiSettings) -> Iterator[str]:
    if api.auth == "aksk" and not api.access_keys and not api.tokens:
        yield 'api.access_keys: auth = "aksk" needs [[api.access_keys]] or [[api.tokens]], else nobody can call'
    yield from _duplicates("api.access_keys", "access_key", (item.access_key for item in api.access_keys))
    for number, key in enumerate(api.access_keys):
        if not key.secret_key:
            yield f"api.access_keys[{number}].secret_key: is empty"
    for number, token in enumerate(api.tokens):
        if not token.token:
            yield f"api.tokens[{number}].token: is empty"
        if token.expires is not None and token.expires.tzinfo is None:
            yield f"api.tokens[{number}].expires: needs a time zone, as in 2027-01-01T00:00:00Z"


def _connection_problems(key: str, connection: KafkaConnectionSettings) -> Iterator[str]:
    if connection.security_protocol.startswith("SASL") and not (connection.user_name and connection.password):
        yield f"{key}.user_name: security_protocol {connection.security_protocol} needs user_name and password"
    if bool(connection.cert_file) != bool(connection.key_file):
        yield f"{key}.cert_file: cert_file and key_file are needed together"


def _duplicates(section: str, key: str, values: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for number, value in enumerate(values):
        if value in seen:
            yield f"{section}[{number}].{key}: {value!r} is there twice"
        seen.add(value)


def is_loopback(host: str) -> bool:
    """Whether a listener on `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
