"""What every child process has, whatever it does: the link to its parent, signals, the settings watch, and one
answer to "when do I stop": told by the parent, by SIGTERM, or because the parent is gone.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from smartconnect.engine.link import ParentLink
from smartconnect.engine.protocol import Heartbeat, Message, ProtocolError, Reload, Stop
from smartconnect.settings_watch import SettingsWatch
from smartconnect.telemetry.logs import get_logger
from smartconnect.telemetry.loop_lag import PROCESS_LAG
from smartconnect.telemetry.meters import Meters

log = get_logger()

ORPHAN_DRAIN_S: Final = 5.0
TERM_DRAIN_S: Final = 40.0


class ChildProcess:
    """`handle` gets the messages that are not for every child; `trouble` gives what hinders this one, "" when nothing does."""

    def __init__(
        self,
        link_fd: int,
        *,
        watch: SettingsWatch,
        meters: Meters,
        handle: Callable[[Message], None],
        trouble: Callable[[], str] = lambda: "",
    ) -> None:
        self.link = ParentLink(link_fd, handle=self._handle, heartbeat=self._heartbeat)
        self.drain_within_s = TERM_DRAIN_S
        self._watch = watch
        self._meters = meters
        self._handle_others = handle
        self._trouble = trouble
        self._stopping = asyncio.Event()

    async def stopped(self) -> None:
        """Wait until this process shall stop; `drain_within_s` then says how long that may take."""
        await self._stopping.wait()

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Everything above runs inside. The link stays open until the end: heartbeats go on while units drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, TERM_DRAIN_S)
        loop.add_signal_handler(signal.SIGHUP, self._watch.reload)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent tells us when to stop
        always = [
            asyncio.create_task(self._linked(), name="link"),
            asyncio.create_task(self._watch.run(), name="settings watch"),
        ]
        try:
            yield
        finally:
            for task in always:
                task.cancel()
            await asyncio.wait(always)

    async def _linked(self) -> None:
        try:
            await self.link.run()
        except (ProtocolError, OSError) as error:
            log.error("the pipe to the parent broke", error=str(error))
        log.warning("the parent is gone")
        self._stop(ORPHAN_DRAIN_S)

    def _handle(self, message: Message) -> None:
        match message:
            case Stop():
                self._stop(message.within_s)
            case Reload():
                self._watch.reload()
            case _:
                self._handle_others(message)

    def _stop(self, within_s: float) -> None:
        self.drain_within_s = min(within_s, self.drain_within_s)
        self._stopping.set()

    def _heartbeat(self) -> Heartbeat:
        trouble = self._trouble()
        PROCESS_LAG.measure(time.monotonic(), self._meters)
        return Heartbeat(meters=self._meters.snapshot(), settings=self._watch.hash, trouble=trouble)
