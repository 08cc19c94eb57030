"""From settings to a Kafka client: the one place in which jobs open a cluster."""

from __future__ import annotations

from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.timing import Timing
from smartconnect.settings import InstanceSettings, KafkaConnectionSettings


def open_cluster(settings: KafkaConnectionSettings, *, client_id: str, timing: Timing | None = None) -> Cluster:
    """A client for an instance, or for a peer named by its addresses; connects when first used."""
    security = KafkaSecurity(
        protocol=settings.security_protocol,
        mechanism=settings.sasl_mechanism,
        user_name=settings.user_name,
        password=settings.password.reveal(),
        ca_file=settings.ca_file,
        cert_file=settings.cert_file,
        key_file=settings.key_file,
    )
    rack = settings.rack if isinstance(settings, InstanceSettings) else ""
    return Cluster(settings.bootstrap_servers, security, client_id=client_id, rack=rack, timing=timing)
