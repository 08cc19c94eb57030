"""The API process as the composition root builds it: control and API on the registry, uvicorn as the listener, the link to the parent
for nudges and for what `/readyz` and `/metrics` show. Units do not notice when it dies and comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import secrets
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import uvicorn

from smartconnect.api.access import AccessDirectory, AccessKey, ApiToken, AuthMode
from smartconnect.api.app import create_app
from smartconnect.api.services import ApiServices, Readiness
from smartconnect.control.call import ControlParts
from smartconnect.control.policy import ControlPolicy
from smartconnect.control.tasks import TaskControl
from smartconnect.domain.clock import Clock
from smartconnect.domain.secret import Secret
from smartconnect.engine.child import ChildProcess
from smartconnect.engine.garbage import collect_rarely
from smartconnect.engine.launch import API
from smartconnect.engine.probes import FleetView
from smartconnect.engine.protocol import Fleet, Message, Nudge
from smartconnect.registry import Registry
from smartconnect.settings import ApiSettings, InstanceSettings, Settings
from smartconnect.settings_watch import SettingsWatch
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.meters import PROCESS_METERS

if TYPE_CHECKING:
    from smartconnect.app import JobMaker

log = get_logger()

CLOSE_WITHIN_S = 5
_TICK_S = 1.0


class _Server(uvicorn.Server):
    """uvicorn, told by us when to stop: the parent decides, not signals. Its own loop wakes ten times a second to look; ours as often as
    the date in the answers needs it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(counter=0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _TICK_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("listening", address=f"{self.config.host}:{self.config.port}", tls=self.config.is_ssl)


async def serve(link_fd: int, watch: SettingsWatch, registry: Registry, make_jobs: JobMaker) -> None:
    """Until told to stop, or the parent is gone. OSError if the address is taken."""
    fleet = FleetView(API, PROCESS_METERS, time.monotonic)

    def handle(message: Message) -> None:
        if isinstance(message, Fleet):
            fleet.heard(message)

    child = ChildProcess(link_fd, watch=watch, meters=PROCESS_METERS, handle=handle)
    services = _services(watch, registry, make_jobs, fleet, lambda: child.link.send(Nudge()))
    server = _Server(_listener(watch.current.api, create_app(services)))
    collect_rarely()
    async with child.living():
        serving = asyncio.create_task(server.serve(), name="http")
        stopped = asyncio.create_task(child.stopped())
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        server.end()
        stopped.cancel()
        await serving


def access_directory(api: ApiSettings) -> AccessDirectory:
    """Who may call, of the settings as they are now. The decoy is new each time: nobody may learn it."""
    keys = {
        key.access_key: AccessKey(key.access_key, key.secret_key, frozenset(key.project_ids), key.read_only)
        for key in api.access_keys
    }
    tokens = [
        ApiToken.of(
            token.token,
            frozenset(token.project_ids),
            read_only=token.read_only,
            expires_at=None if token.expires is None else int(token.expires.timestamp() * 1000),
        )
        for token in api.tokens
    ]
    return AccessDirectory(AuthMode(api.auth), keys, tokens, Secret(secrets.token_hex(32)))


def version() -> str:
    """Of the installed package."""
    try:
        return importlib.metadata.version("smartconnect")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


def _services(
    watch: SettingsWatch, registry: Registry, make_jobs: JobMaker, fleet: FleetView, nudge: Callable[[], None]
) -> ApiServices:
    clock = Clock()
    access = access_directory(watch.current.api)
    instances = _instances(watch.current)

    def renew(_old: Settings, new: Settings) -> None:
        nonlocal access, instances
        access, instances = access_directory(new.api), _instances(new)

    async def readiness() -> Readiness:
        return Readiness(tuple(fleet.problems()))

    async def metrics() -> bytes:
        return fleet.metrics().encode()

    watch.on_change(renew)
    control = TaskControl(
        ControlParts(
            store=registry,
            jobs=make_jobs(lambda: watch.current, clock),
            policy=lambda: _policy(watch.current),
            clock=clock,
            new_id=lambda: str(uuid.uuid4()),
            nudge=nudge,
        )
    )
    return ApiServices(
        control=control,
        instances=lambda: instances,
        access=lambda: access,
        clock=clock,
        new_request_id=lambda: uuid.uuid4().hex,
        readiness=readiness,
        metrics=metrics,
        version=version(),
    )


def _instances(settings: Settings) -> Mapping[str, InstanceSettings]:
    return {instance.id: instance for instance in settings.instances}


def _policy(settings: Settings) -> ControlPolicy:
    control = settings.control
    return ControlPolicy(control.max_tasks, control.check_connections, control.check_timeout_s)


def _listener(api: ApiSettings, application: object) -> uvicorn.Config:
    host, port = api.address()
    return uvicorn.Config(
        application,  # type: ignore[arg-type] # an ASGI application; uvicorn's own type for it is wider than starlette's
        host=host,
        port=port,
        ssl_certfile=api.tls_cert_file or None,
        ssl_keyfile=api.tls_key_file or None,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=CLOSE_WITHIN_S,
    )
