"""Stations of line agents: what an agent reports of one, and what is known of each."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict

from service.schemas.base import JSON_INTEGER, JsonTime, ResponseModel
from service.schemas.text import Message, Text

MAX_COMPONENTS = 64

_Count = Annotated[int, Field(ge=0, le=2**53), JSON_INTEGER]


class StationPart(BaseModel):
    """A part that was decided on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part_id: Text
    captured_at: JsonTime
    decision: Literal["accept", "reject", "missed"]
    verdict: Text | None = Field(description="null where it was decided without one.")
    inspection_id: Text | None = Field(description="Its inspection, where there was one by then.")


class StationComponent(BaseModel):
    """A source, a gate, a sink of records, or another part of the agent that has had an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["source", "gate", "sink", "agent"]
    name: Message = Field(description="Its kind and address, without what may be secret in it.")
    error: Message | None = Field(description="Why it does not work now; null: it works.")
    last_error: Message | None = Field(description="The last error since the agent started.")
    last_error_at: JsonTime | None
    count: _Count = Field(description="Parts captured, decisions or records received, since the agent started.")
    last_at: JsonTime | None = Field(description="When the last of these was.")


class StationReport(BaseModel):
    """What a line agent reports of a station; it takes the place of the station's earlier report."""

    model_config = ConfigDict(extra="forbid")

    started_at: JsonTime = Field(description="When the agent started.")
    parts: _Count = Field(description="Parts decided on since then.")
    last_part: StationPart | None
    components: Annotated[tuple[StationComponent, ...], Field(max_length=MAX_COMPONENTS)] = Field(
        description=f"At most {MAX_COMPONENTS}."
    )
    sends_frames: Annotated[bool, Strict()] = Field(
        False, description="Whether it can send images of its camera to `PUT /stations/{name}/frame`."
    )


class StationView(ResponseModel):
    """A station as its agent last reported it."""

    name: str
    reported_at: datetime = Field(description="When the last report came.")
    silent: bool = Field(description="True once no report has come for 12 s: the rest is as it was then.")
    started_at: datetime
    parts: int
    last_part: StationPart | None
    components: tuple[StationComponent, ...]
    sends_frames: bool
    watched: bool = Field(description="Whether its frame was requested within 10 s: the agent is to send frames.")


class FrameFields(BaseModel):
    """The text fields beside a frame."""

    model_config = ConfigDict(extra="forbid")

    age_s: float = Field(0.0, ge=0, le=10**7, allow_inf_nan=False, description="Seconds since it was taken.")


class StationWatchResponse(ResponseModel):
    """What became of a frame."""

    watched: bool = Field(description="Whether somebody watches the station; if not, the frame was not stored.")


class StationsResponse(ResponseModel):
    """Every station that reported within 30 days, by name."""

    stations: tuple[StationView, ...]
