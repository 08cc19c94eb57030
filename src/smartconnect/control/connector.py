"""Enabling and disabling Smart Connect for an instance, and what an instance shows of itself (api.md §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smartconnect.control import codes
from smartconnect.control.call import BodyReader, CallContext, ControlParts
from smartconnect.control.lookup import require_enabled
from smartconnect.control.ports import ConnectorState
from smartconnect.control.refusals import Refusal, refuse_if
from smartconnect.domain.fields import Whole, read_object
from smartconnect.settings import InstanceSettings

NODE_COUNT = Whole("node_cnt", 2, 16)
DEFAULT_NODES = 2
KNOWN = ("specification", "spec_code")


@dataclass(frozen=True, slots=True)
class Address:
    """Where clients of the instance connect: hosts without their ports, and the port of the first."""

    hosts: str
    port: int


async def enable(parts: ControlParts, call: CallContext, read_body: BodyReader) -> ConnectorState:
    """Enable; refuses if it is enabled already."""
    state = await parts.store.connector(call.instance.id, call.instance.connector_enabled)
    if state.enabled:
        raise Refusal(codes.CONNECTOR_EXISTS)
    node_count = read_node_count(read_body())
    enabled = await parts.store.set_connector(call.instance.id, True, node_count)
    if enabled is None:
        raise Refusal(codes.CONNECTOR_EXISTS)
    return enabled


def read_node_count(body: Mapping[str, object]) -> int:
    """`node_cnt`, which SDKs send as "2" too."""
    sent = body.get("node_cnt")
    number = int(sent) if isinstance(sent, str) and sent.isascii() and sent.isdigit() and len(sent) <= 3 else sent
    reading = read_object("", {**body, "node_cnt": number}, (NODE_COUNT,), known=KNOWN)
    refuse_if(reading.problems, codes.INVALID_PARAMETER)
    value = reading.values.get("node_cnt")
    return value if isinstance(value, int) else DEFAULT_NODES


async def disable(parts: ControlParts, call: CallContext) -> None:
    """Disable; refuses while the instance has tasks."""
    await require_enabled(parts, call)
    _, total = await parts.store.list_tasks(call.instance.id, 0, 1)
    if total or await parts.store.set_connector(call.instance.id, False, 0) is None:
        raise Refusal(codes.TASKS_EXIST)


def sasl_mechanisms(instance: InstanceSettings) -> Sequence[str]:
    """The mechanism our own connection uses, if it uses SASL: the only one we know of."""
    return [instance.sasl_mechanism] if instance.security_protocol.startswith("SASL") else []


def address_of(instance: InstanceSettings) -> Address:
    """From the settings, never from the cluster."""
    servers = [server.strip().rpartition(":") for server in instance.bootstrap_servers.split(",")]
    port = servers[0][2]
    return Address(hosts=",".join(host or port for host, _, port in servers), port=int(port) if port.isdigit() else 9092)
