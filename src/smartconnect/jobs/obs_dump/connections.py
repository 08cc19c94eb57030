"""From settings to clients: the one place in which the dump opens a store."""

from __future__ import annotations

from random import Random

from smartconnect.domain.clock import Clock
from smartconnect.domain.obs_dump_spec import ObsDumpSpec
from smartconnect.objectstore import ObjectStore, Observe, StoreCredentials, StoreLocation
from smartconnect.settings import ObsSettings
from smartconnect.telemetry.meters import PROCESS_METERS
from smartconnect.telemetry.names import STORE_REQUESTS


def open_store(
    spec: ObsDumpSpec, obs: ObsSettings, clock: Clock, random: Random, *, bucket: str | None = None, task_id: str | None = None
) -> ObjectStore:
    """A client for the task's bucket, or for another one with the task's keys. With `task_id` its requests are counted as that task's."""
    name = bucket or spec.bucket
    where = obs.location_of(name)
    location = StoreLocation(endpoint=where.endpoint, region=where.region, addressing=where.addressing, ca_file=where.ca_file)
    credentials = StoreCredentials(spec.access_key.reveal(), spec.secret_key.reveal())
    integrity, observe = spec.options.part_integrity, None if task_id is None else _counting(task_id)
    return ObjectStore(location, credentials, name, integrity=integrity, clock=clock, random=random.random, observe=observe)


def _counting(task_id: str) -> Observe:
    def observe(operation: str, outcome: str, _seconds: float, _nbytes: int) -> None:
        PROCESS_METERS.add(STORE_REQUESTS, 1, (task_id, operation, outcome))

    return observe
