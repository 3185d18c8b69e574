"""Problem details of an error response."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """Problem details (RFC 9457). `reason` refines some types with a stable slug."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/no-references"])
    title: str
    status: int
    detail: str
    request_id: str | None = None
    reason: str | None = None
