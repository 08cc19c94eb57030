"""What the models of all requests and answers share: how absence is written, names, lists of values. Used by the `schemas` modules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Absent = Literal[""] | None
"""`null` and "" mean: not given."""

TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,64}$")]
LongText = Annotated[str, Field(max_length=4096)]
NonEmpty = Annotated[str, Field(min_length=1, max_length=4096)]
Pattern = Annotated[str, Field(max_length=256)]
Strategy = Literal["latest", "earliest"]
Status = Literal["CREATING", "RUNNING", "WAITING", "PAUSED", "RESTARTING", "FAILED"]


class Sent(BaseModel):
    """Base of what clients send: unknown fields are ignored, and named in a warning event."""

    model_config = ConfigDict(extra="allow")


class Answer(BaseModel):
    """Base of what we answer: every field is always there unless its description says otherwise."""

    model_config = ConfigDict(extra="forbid")
