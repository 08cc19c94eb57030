"""From settings to clients: the one place in which the dump opens a store."""

from __future__ import annotations

from random import Random

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.objectstore import ObjectStore, StoreCredentials, StoreLocation
from smartconnect.settings import ObsSettings


def open_store(spec: ObsDumpSpec, obs: ObsSettings, clock: Clock, random: Random, bucket: str | None = None) -> ObjectStore:
    """A client for the task's bucket, or for another one with the task's keys."""
    name = bucket or spec.bucket
    where = obs.location_of(name)
    location = StoreLocation(endpoint=where.endpoint, region=where.region, addressing=where.addressing, ca_file=where.ca_file)
    credentials = StoreCredentials(spec.access_key.reveal(), spec.secret_key.reveal())
    return ObjectStore(location, credentials, name, integrity=spec.options.part_integrity, clock=clock, random=random.random)
