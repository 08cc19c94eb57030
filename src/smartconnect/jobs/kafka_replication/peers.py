"""How the two clusters of a task are named and reached (api.md §4.2): a configured instance, or addresses with what the request says.
What the request leaves out is the instance's; of a peer by addresses it is `SASL_SSL` with a user name, `PLAINTEXT` without, and `PLAIN`.
Pure. Called by request, presentation, conflicts and the job object; `find` looks an instance up in the settings as they are now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from smartconnect.domain.errors import ClusterUnreachable, SettingsInvalid
from smartconnect.domain.kafka_replication_spec import Peer
from smartconnect.domain.problems import Problem, ProblemKind
from smartconnect.domain.secret import Secret
from smartconnect.domain.task import TaskConfig
from smartconnect.kafka.addresses import parse_addresses
from smartconnect.settings import InstanceSettings, KafkaConnectionSettings

Find = Callable[[str], InstanceSettings | None]
"""The configured instance of an id; None if there is none (any more)."""

PASSWORD: Final = "source_task.password"  # noqa: S105 # the name of the field
NO_SECRET: Final = Secret("")
ALIAS_LENGTH: Final = 20


@dataclass(frozen=True, slots=True)
class Reach:
    """How the peer is reached, all but the password: what the request says, completed."""

    bootstrap_servers: str
    security_protocol: str
    sasl_mechanism: str
    user_name: str

    @property
    def uses_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL")


def reach(values: Mapping[str, object], instance: InstanceSettings | None) -> Reach:
    """Of the fields of `source_task` and, if they name one, the configured instance."""
    user_name = str(values.get("user_name", ""))
    if instance is None:
        protocol = str(values.get("security_protocol", "SASL_SSL" if user_name else "PLAINTEXT"))
        return Reach(str(values.get("bootstrap_servers", "")), protocol, str(values.get("sasl_mechanism", "PLAIN")), user_name)
    protocol = str(values.get("security_protocol", instance.security_protocol))
    mechanism = str(values.get("sasl_mechanism", instance.sasl_mechanism))
    if not user_name and protocol.startswith("SASL"):
        user_name = instance.user_name
    return Reach(instance.bootstrap_servers, protocol, mechanism, user_name)


def peer_of(config: TaskConfig, secrets: Mapping[str, Secret], find: Find) -> Peer:
    """The peer of a validated configuration. ClusterUnreachable if it names an instance that is not in the settings any more."""
    values = config.source_task
    instance_id = str(values.get("instance_id", "")) or None
    instance = require_instance(instance_id, find) if instance_id is not None else None
    how = reach(values, instance)
    password = secrets.get(PASSWORD, NO_SECRET)
    if not password and how.uses_sasl and instance is not None:
        password = instance.password
    return Peer(instance_id, how.bootstrap_servers, how.security_protocol, how.sasl_mechanism, how.user_name, password)


def peer_connection(peer: Peer, find: Find, peer_ca_file: str) -> KafkaConnectionSettings:
    """How to open the peer: certificates and rack are the configured instance's, else the CA is `peer_ca_file`, or the system's if that is
    empty. ClusterUnreachable as for `peer_of`."""
    said: dict[str, Any] = {
        "security_protocol": peer.security_protocol,
        "sasl_mechanism": peer.sasl_mechanism,
        "user_name": peer.user_name,
        "password": peer.password,
    }
    if peer.instance_id is not None:
        return require_instance(peer.instance_id, find).model_copy(update=said)
    return KafkaConnectionSettings(bootstrap_servers=peer.bootstrap_servers, ca_file=peer_ca_file, **said)


def require_instance(instance_id: str, find: Find) -> InstanceSettings:
    """ClusterUnreachable, which waiting for the settings cures, if it is not configured."""
    instance = find(instance_id)
    if instance is None:
        raise ClusterUnreachable(_gone(instance_id))
    return instance


def missing(config: TaskConfig, find: Find) -> list[Problem]:
    """A peer that the settings do not have any more."""
    instance_id = str(config.source_task.get("instance_id", ""))
    if not instance_id or find(instance_id) is not None:
        return []
    return [Problem("source_task.instance_id", _gone(instance_id), ProblemKind.LIVE)]


def _gone(instance_id: str) -> str:
    return f"instance {instance_id} is not in the settings any more; add it to [[instances]] again"


def address_set(bootstrap_servers: str) -> frozenset[tuple[str, int]]:
    """Addresses to compare; empty if the text is none."""
    try:
        return frozenset((host.lower(), port) for host, port in parse_addresses(bootstrap_servers))
    except SettingsInvalid:
        return frozenset()


def alias_of(name: str) -> str:
    """A cluster's alias made of its instance's name, its id or the cluster id: other characters become "_", cut to 20."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:ALIAS_LENGTH]


def apart_from(alias: str, other: str) -> str:
    """A derived alias that differs from the other cluster's: names of topics must tell the two apart."""
    return f"{alias[: ALIAS_LENGTH - 2]}-2" if alias == other else alias


@dataclass(frozen=True, slots=True)
class ClusterName:
    """What is known of a cluster without asking it. `cluster_id` is empty where no call has learnt it yet."""

    instance_id: str | None
    addresses: frozenset[tuple[str, int]]
    cluster_id: str = ""

    def same_as(self, other: ClusterName) -> bool | None:
        """Whether both are one cluster; None: not known. Ids decide where both are known, else a common address or instance."""
        if self.cluster_id and other.cluster_id:
            return self.cluster_id == other.cluster_id
        if self.instance_id is not None and self.instance_id == other.instance_id:
            return True
        return True if self.addresses & other.addresses else None


def current_name(instance_id: str, config: TaskConfig, find: Find) -> ClusterName:
    """The instance of the task."""
    instance = find(instance_id)
    addresses = address_set(instance.bootstrap_servers) if instance is not None else frozenset()
    return ClusterName(instance_id, addresses, str(config.source_task.get("current_cluster_id", "")))


def peer_name(config: TaskConfig, find: Find) -> ClusterName:
    """The other cluster."""
    values = config.source_task
    instance_id = str(values.get("instance_id", "")) or None
    how = reach(values, find(instance_id) if instance_id is not None else None)
    return ClusterName(instance_id, address_set(how.bootstrap_servers), str(values.get("peer_cluster_id", "")))
