"""A real Kafka cluster (KRaft) on this machine, of any version that Maven has.

`kafka_cluster(KafkaOptions(...))` guarantees that inside the context every node is registered and answers, that each node can be
killed, stopped, frozen and started again on the same ports and data, and that nothing of it is left afterwards. Node 1 is
broker and controller, the others are brokers. Called by the tests' fixtures, the benchmarks, the demo and `stack`.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from smartconnect.domain.errors import SandboxFailed
from smartconnect.sandbox.cache import run_folder
from smartconnect.sandbox.certificates import Certificates, make_certificates
from smartconnect.sandbox.kafka_classes import archive_flags
from smartconnect.sandbox.kafka_files import (
    LOG_SETTINGS,
    SCRAM_FORMAT_SINCE,
    SCRAM_MECHANISMS,
    STANDALONE_SINCE,
    NodeFile,
    NodePorts,
    Security,
    libraries,
    render,
    version_numbers,
)
from smartconnect.sandbox.ports import free_port, free_ports
from smartconnect.sandbox.prerequisites import Tool, ensure
from smartconnect.sandbox.process import Lifetime, ServerCommand, ServerProcess, answers, together

KAFKA_VERSION = "4.3.1"
MODEST_JVM = ("-Xms128m", "-Xmx512m", "-XX:+UseG1GC", "-XX:TieredStopAtLevel=1")
"""Halves the CPU and time of a start; the optimizing compiler comes with `BENCHMARK_JVM`."""
BENCHMARK_JVM = ("-Xmx512m", "-XX:+UseG1GC")

_STARTED = "Kafka Server started"
_ARCHIVE_DEADLINE_S = 120.0
_TOOL_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """What a test or benchmark may want of its cluster.

    `properties` override ours on every node. `racks`, one for each node, are their `broker.rack`. With a SASL `security` the users
    of `scram_users` (both SCRAM mechanisms; Kafka 3.5 and later) and `plain_users` exist; `authorizer` turns on ACLs, with
    `User:admin` and the INTERNAL listener as super users. `folder`: kept after the context; None: a folder of the cache that is
    removed. `archived`: whether nodes start from the archive of classes; False for the one that makes it.
    """

    version: str = KAFKA_VERSION
    nodes: int = 1
    security: Security = "PLAINTEXT"
    scram_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    plain_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorizer: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    racks: tuple[str, ...] | None = None
    jvm: tuple[str, ...] = MODEST_JVM
    archived: bool = True
    folder: Path | None = None
    start_deadline_s: float = 120.0

    def __post_init__(self) -> None:
        if self.racks is not None and len(self.racks) != self.nodes:
            raise SandboxFailed(f"KafkaOptions.racks has {len(self.racks)} entries for {self.nodes} nodes.")
        if self.scram_users and version_numbers(self.version) < SCRAM_FORMAT_SINCE:
            raise SandboxFailed(f"Kafka {self.version} cannot be given SCRAM users here; take 3.5 or later, or plain_users.")
        if self.authorizer and self.security == "PLAINTEXT":
            raise SandboxFailed("KafkaOptions.authorizer needs clients with a name: take a SASL or SSL security.")


class KafkaCluster:
    """The nodes of one cluster and how to reach them. Made by `kafka_cluster` or, to outlive the starter, by `stack`."""

    def __init__(self, options: KafkaOptions, folder: Path, lifetime: Lifetime = Lifetime.STARTER) -> None:
        self.options = options
        self.folder = folder
        self.cluster_id = _cluster_id()
        self.certificates: Certificates | None = None
        self.nodes: list[ServerProcess] = []
        self.ports = [self._node_ports(index) for index in range(options.nodes)]
        self._lifetime = lifetime
        self._java = Path("java")
        self._libraries = Path()
        self._archive_flags: tuple[str, ...] = ()

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of the CLIENT listeners, `host:port,…`."""
        return ",".join(f"127.0.0.1:{ports.client}" for ports in self.ports)

    @property
    def proxied_servers(self) -> str:
        """The addresses that the PROXIED listeners advertise: usable while a proxy listens there for every node."""
        return ",".join(f"127.0.0.1:{ports.proxy}" for ports in self.ports)

    @property
    def internal_servers(self) -> str:
        """The addresses of the plaintext INTERNAL listeners: past proxies, and as a super user."""
        return ",".join(f"127.0.0.1:{ports.internal}" for ports in self.ports)

    @property
    def ca_file(self) -> Path:
        return self._tls().ca_file

    @property
    def client_cert_file(self) -> Path:
        return self._tls().client.certificate_file

    @property
    def client_key_file(self) -> Path:
        return self._tls().client.key_file

    @property
    def classpath(self) -> str:
        """For `java -cp`: everything of this Kafka version, MirrorMaker 2 included."""
        return f"{self._libraries}/*"

    async def start(self) -> None:
        """Format and start all nodes at once; on failure none is left running."""
        self._libraries, self._java = await asyncio.to_thread(self._prepare)
        if self.options.archived:
            self._archive_flags = await archive_flags(self.options.version, self._learn)
        if self.options.security.endswith("SSL"):
            self.certificates = await asyncio.to_thread(make_certificates, self.folder / "tls")
        self.nodes = [self._node(index) for index in range(self.options.nodes)]
        try:
            await together(*(self._format_and_start(index) for index in range(self.options.nodes)))
        except BaseException:
            await self.kill()
            raise

    async def kill(self) -> None:
        """SIGKILL to all nodes."""
        await asyncio.gather(*(node.kill() for node in self.nodes))

    async def stop(self) -> None:
        """A clean end: first the brokers, then the node with the controller, which the others need to leave."""
        await asyncio.gather(*(node.stop() for node in self.nodes[1:]))
        await asyncio.gather(*(node.stop() for node in self.nodes[:1]))

    async def run_tool(self, main_class: str, *arguments: str) -> str:
        """Run a tool of Kafka's own, e.g. `org.apache.kafka.tools.TopicCommand`; gives its output. Raises `SandboxFailed`."""
        tool = await asyncio.create_subprocess_exec(
            self._java, *_TOOL_JVM, *self._archive_flags, "-cp", self.classpath, main_class, *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            output, errors = await tool.communicate()
        except BaseException:
            tool.kill()
            raise
        text = output.decode(errors="replace")
        if tool.returncode != 0:
            raise SandboxFailed(f"{main_class} ended with {tool.returncode}: {text}{errors.decode(errors='replace')}")
        return text

    def _tls(self) -> Certificates:
        if self.certificates is None:
            raise SandboxFailed(f"A {self.options.security} cluster has no certificates; take SSL or SASL_SSL.")
        return self.certificates

    def _prepare(self) -> tuple[Path, Path]:
        java = ensure(Tool.JAVA)[Tool.JAVA]
        return libraries(self.options.version), java

    async def _learn(self, flags: tuple[str, ...]) -> None:
        """A plain broker of this version from its start to its clean end, with more flags for Java."""
        options = KafkaOptions(version=self.options.version, jvm=(*MODEST_JVM, *flags), archived=False)
        async with kafka_cluster(options) as cluster:
            await cluster.nodes[0].stop(_ARCHIVE_DEADLINE_S)

    def _node_ports(self, index: int) -> NodePorts:
        client, proxied, proxy, internal = free_ports(4)
        return NodePorts(client, proxied, proxy, internal, controller=free_port() if index == 0 else 0)

    def _node(self, index: int) -> ServerProcess:
        folder = self.folder / f"node-{index + 1}"
        port = self.ports[index].client

        async def ready(log: str) -> bool:
            return _STARTED in log and await answers(port)

        options = self.options
        argv = (
            str(self._java), *options.jvm, *self._archive_flags, f"-Dlog4j2.configurationFile={LOG_SETTINGS}",
            "-cp", self.classpath, "kafka.Kafka", str(folder / "server.properties"),
        )  # fmt: skip
        command = ServerCommand(
            name=f"Kafka {options.version} node {index + 1}",
            argv=argv,
            folder=folder,
            log_file=folder / "server.log",
            ready=ready,
            deadline_s=options.start_deadline_s,
            removed_after_crash=() if options.folder is not None else (self.folder,),
        )
        return ServerProcess(command, self._lifetime)

    async def _format_and_start(self, index: int) -> None:
        folder = self.nodes[index].command.folder
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        properties.touch(mode=0o600)
        properties.write_text(render(self._node_file(index)))
        if not (folder / "data" / "meta.properties").exists():
            await self._format(index, properties)
        await self.nodes[index].start()

    def _node_file(self, index: int) -> NodeFile:
        options = self.options
        ours: dict[str, str] = {}
        if options.authorizer:
            ours["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        return NodeFile(
            node_id=index + 1,
            ports=self.ports[index],
            data_folder=self.folder / f"node-{index + 1}" / "data",
            nodes=options.nodes,
            first_controller_port=self.ports[0].controller,
            version=version_numbers(options.version),
            security=options.security,
            plain_users=options.plain_users,
            certificates=self.certificates,
            rack=None if options.racks is None else options.racks[index],
            properties={**ours, **options.properties},
        )

    async def _format(self, index: int, properties: Path) -> None:
        arguments = ["format", "-t", self.cluster_id, "-c", str(properties)]
        if index == 0:
            if version_numbers(self.options.version) >= STANDALONE_SINCE:
                arguments.append("--standalone")
            for name, password in self.options.scram_users.items():
                for mechanism in SCRAM_MECHANISMS:
                    arguments += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        await self.run_tool("kafka.tools.StorageTool", *arguments)


def _cluster_id() -> str:
    """16 bytes in base64, as Kafka wants them. Never with a dash in front, as Kafka's own: its tools would take that for an option."""
    first, *rest = os.urandom(15)
    return base64.urlsafe_b64encode(bytes((first & 0x7F, *rest, 0))).decode().rstrip("=")


@asynccontextmanager
async def kafka_cluster(options: KafkaOptions | None = None) -> AsyncIterator[KafkaCluster]:
    """A cluster that lives as long as the context. Raises `SandboxFailed` if it cannot be had.

    A file `KEEP` in the cluster's folder keeps the folder (logs, data) when the context ends.
    """
    options = options or KafkaOptions()
    async with run_folder("kafka", options.folder) as folder:
        cluster = KafkaCluster(options, folder)
        try:
            await cluster.start()
            yield cluster
        finally:
            await cluster.kill()
