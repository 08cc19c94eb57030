"""What a Kafka node reads from disk: the jars of one Kafka version, and its `server.properties`.

Guarantees that the jars of a version are fetched once (Maven, into the cache), and renders properties for KRaft nodes with these
listeners: CLIENT (the security asked for), PROXIED (the same, but it advertises a port where a test may put a proxy), INTERNAL
(plaintext, between the nodes and for tests that must look past a proxy or a missing right) and CONTROLLER. Called by `kafka`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.cache import install_once
from smartconnect.sandbox.certificates import Certificates
from smartconnect.sandbox.prerequisites import Tool, ensure

Security = Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL"]
SCRAM_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")
LOG_SETTINGS = Path(__file__).with_name("kafka-log4j2.properties")
STANDALONE_SINCE = (3, 9)
"""From here on one node formats itself as a voter set of its own (KIP-853); before, voters are listed in the properties."""
SCRAM_FORMAT_SINCE = (3, 5)
"""From here on SCRAM users can be made when the first node is formatted (KIP-900)."""

_POM = Path(__file__).with_name("kafka-pom.xml")
_MAVEN_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The ports of one node. It listens on `proxied` and sends those clients to `proxy`, where nobody listens by itself."""

    client: int
    proxied: int
    proxy: int
    internal: int
    controller: int


@dataclass(frozen=True, slots=True)
class NodeFile:
    """All that decides one node's `server.properties`."""

    node_id: int
    ports: NodePorts
    data_folder: Path
    nodes: int
    first_controller_port: int
    version: tuple[int, ...]
    security: Security
    plain_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificates: Certificates | None = None
    rack: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def libraries(version: str) -> Path:
    """The folder of jars of this Kafka version, fetched if the cache lacks it. Blocks; use a thread."""

    def fetch(staging: Path) -> None:
        maven = ensure(Tool.MAVEN, Tool.JAVA)[Tool.MAVEN]
        shutil.copy(_POM, staging / "pom.xml")
        command = [
            str(maven), "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime",
            f"-Dkafka.version={version}", f"-DoutputDirectory={staging}",
        ]  # fmt: skip
        result = subprocess.run(command, cwd=staging, capture_output=True, text=True, timeout=_MAVEN_TIMEOUT_S, check=False)
        if result.returncode != 0:
            raise SandboxFailed(f"Maven could not fetch Kafka {version}:\n{(result.stdout + result.stderr)[-2000:]}")

    return install_once(f"kafka/{version}", fetch)


def version_numbers(version: str) -> tuple[int, ...]:
    """`"4.3.1"` → `(4, 3, 1)`."""
    return tuple(int(part) for part in version.split("."))


def render(node: NodeFile) -> str:
    """The text of `server.properties`. The caller's properties win over ours."""
    lines = {
        **_identity(node),
        **_listeners(node),
        **_small_and_quick(node.nodes),
        **_security(node),
        **node.properties,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _identity(node: NodeFile) -> dict[str, str]:
    first = f"127.0.0.1:{node.first_controller_port}"
    lines = {
        "process.roles": "broker,controller" if node.node_id == 1 else "broker",
        "node.id": str(node.node_id),
        "log.dirs": str(node.data_folder),
    }
    if node.version >= STANDALONE_SINCE:
        lines["controller.quorum.bootstrap.servers"] = first
    else:
        lines["controller.quorum.voters"] = f"1@{first}"
    if node.rack is not None:
        lines["broker.rack"] = node.rack
    return lines


def _listeners(node: NodeFile) -> dict[str, str]:
    ports = node.ports
    listening = {"CLIENT": ports.client, "PROXIED": ports.proxied, "INTERNAL": ports.internal}
    advertised = {**listening, "PROXIED": ports.proxy}
    if node.node_id == 1:
        listening["CONTROLLER"] = ports.controller
    protocols = {"CLIENT": node.security, "PROXIED": node.security, "INTERNAL": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"}
    return {
        "listeners": _addresses(listening),
        "advertised.listeners": _addresses(advertised),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
    }


def _addresses(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _small_and_quick(nodes: int) -> dict[str, str]:
    replicas = str(min(nodes, 3))
    least_in_sync = "2" if nodes >= 3 else "1"
    return {
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": least_in_sync,
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": least_in_sync,
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "auto.create.topics.enable": "false",
        # a killed broker may come back only when its old session has ended (9 s by default)
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        # an idle controller writes two records a second by default, two fifths of what an idle node costs
        "metadata.max.idle.interval.ms": "0",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # the default takes 128 MiB of a 512 MiB heap
    }


def _security(node: NodeFile) -> dict[str, str]:
    lines = {"super.users": "User:ANONYMOUS;User:admin"}  # without an authorizer this has no meaning
    if node.security.startswith("SASL"):
        users = "".join(f' user_{name}="{password}"' for name, password in node.plain_users.items())
        plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required{users};"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        lines["sasl.enabled.mechanisms"] = ",".join(("PLAIN", *SCRAM_MECHANISMS))
        for listener in ("client", "proxied"):
            lines[f"listener.name.{listener}.plain.sasl.jaas.config"] = plain
            for mechanism in SCRAM_MECHANISMS:
                lines[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = scram
    if node.certificates is not None:
        lines |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(node.certificates.server.combined_file),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(node.certificates.ca_file),
            "ssl.client.auth": "requested",
        }
    return lines
