"""The last question of a fetch connection, and an answer to it that brought nothing: where both come again, the one is not made and the
other not taken apart again, so that idle partitions too few for a session cost a comparison. Pure; used by `fetch_channel`."""

from __future__ import annotations

from typing import Final, NamedTuple

_THROTTLE: Final = 4
_NOTHING: Final = b""


class Shape(NamedTuple):
    """What a request holds beside its partitions and what is the same for the connection's whole life. `offered`: the newest version that
    the broker and we know."""

    offered: int
    wait_ms: int
    min_bytes: int
    max_bytes: int


class Request(NamedTuple):
    """An encoded request, and the version that it is in."""

    version: int
    body: bytes


class Echo:
    """`asked` and `heard` tell what happened; `request` and `again` whether it happens again."""

    def __init__(self) -> None:
        self._shape: Shape | None = None
        self._request: Request | None = None
        self._answer = _NOTHING

    def asked(self, shape: Shape, request: Request) -> None:
        """A request was made, about whatever partitions."""
        self._shape, self._request, self._answer = shape, request, _NOTHING

    def heard(self, answer: memoryview) -> None:
        """The answer to it brought nothing, and would bring nothing again."""
        self._answer = bytes(answer[_THROTTLE:])

    def request(self, shape: Shape) -> Request | None:
        """The last request, for the same partitions in this shape; None: make one."""
        return self._request if shape == self._shape else None

    def again(self, answer: memoryview) -> bool:
        """Whether this says what the answer that brought nothing said (throttle time aside)."""
        return (
            len(answer) == len(self._answer) + _THROTTLE
            and self._answer != _NOTHING
            and answer[_THROTTLE:].tobytes() == self._answer
        )


def throttle_ms(answer: memoryview) -> int:
    """Of an answer that is not taken apart."""
    return int.from_bytes(answer[:_THROTTLE], "big", signed=True)
