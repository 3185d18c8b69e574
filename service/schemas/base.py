"""What all answers have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ResponseModel(BaseModel):
    """Something that the service says."""

    model_config = ConfigDict(frozen=True)
