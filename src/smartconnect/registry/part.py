"""What every part of the registry has: the database, the vault, and the clock and ids that it was given; and how its methods are kept
whole when their caller is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from smartconnect.registry.database import Database
from smartconnect.registry.sealing import Vault

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Self = TypeVar("Self", bound="Part")


@dataclass(frozen=True, slots=True)
class Equipment:
    """Shared by all parts of one open registry. `now`: epoch ms; `new_id`: a fresh UUID text."""

    database: Database
    vault: Vault
    now: Callable[[], int]
    new_id: Callable[[], str]


class Part:
    """One group of the registry's methods; `Registry` is all of them together. Each public method is `unbroken`."""

    def __init__(self, equipment: Equipment) -> None:
        self._database = equipment.database
        self._vault = equipment.vault
        self._now = equipment.now
        self._new_id = equipment.new_id


def unbroken(
    method: Callable[Concatenate[Self, Arguments], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Self, Arguments], Coroutine[Any, Any, Result]]:
    """A caller that is cancelled stops waiting, but the transaction goes on to its end. Cancelled between two statements, it would be
    left open in the driver's thread, and with it the lock that every writer of every process waits for."""

    @wraps(method)
    async def whole(self: Self, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return await self._database.to_its_end(method(self, *args, **kwargs))

    return whole
