"""A signed request on its way out of the wire."""

from __future__ import annotations

from dataclasses import dataclass, field

from smartconnect.objectstore.blocks import Blocks


@dataclass(frozen=True, slots=True)
class Outgoing:
    """`data` or `blocks` (a part's bytes), or no body. `answer_s`: from the last byte sent to the last byte of the answer."""

    method: str
    url: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    data: bytes | None = field(default=None, repr=False)
    blocks: Blocks | None = field(default=None, repr=False)
    answer_s: float = 60.0
