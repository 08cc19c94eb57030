"""From settings to clients: the one place in which the dump opens a cluster or a store."""

from __future__ import annotations

from random import Random

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.kafka.cluster import Cluster
from smartconnect.kafka.security import KafkaSecurity
from smartconnect.kafka.timing import Timing
from smartconnect.objectstore import ObjectStore, StoreCredentials, StoreLocation
from smartconnect.settings import InstanceSettings, ObsSettings


def open_cluster(instance: InstanceSettings, *, client_id: str, timing: Timing | None = None) -> Cluster:
    """A client for an instance; connects when first used."""
    security = KafkaSecurity(
        protocol=instance.security_protocol,
        mechanism=instance.sasl_mechanism,
        user_name=instance.user_name,
        password=instance.password.reveal(),
        ca_file=instance.ca_file,
        cert_file=instance.cert_file,
        key_file=instance.key_file,
    )
    return Cluster(instance.bootstrap_servers, security, client_id=client_id, rack=instance.rack, timing=timing)


def open_store(spec: ObsDumpSpec, obs: ObsSettings, clock: Clock, random: Random, bucket: str | None = None) -> ObjectStore:
    """A client for the task's bucket, or for another one with the task's keys."""
    name = bucket or spec.bucket
    where = obs.location_of(name)
    location = StoreLocation(endpoint=where.endpoint, region=where.region, addressing=where.addressing, ca_file=where.ca_file)
    credentials = StoreCredentials(spec.access_key.reveal(), spec.secret_key.reveal())
    return ObjectStore(location, credentials, name, integrity=spec.options.part_integrity, clock=clock, random=random.random)
