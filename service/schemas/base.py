"""What all answers have in common, and all bodies of JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


class ResponseModel(BaseModel):
    """Something that the service says."""

    model_config = ConfigDict(frozen=True)


def _no_boolean_or_text(given: object) -> object:
    """JSON's true is no 1, and its "1" neither, although both are to Python's `int`."""
    if isinstance(given, bool | str):
        raise ValueError("a number is needed, not true, false or text")
    return given


JsonInt = Annotated[int, BeforeValidator(_no_boolean_or_text)]  # 3.0 is an integer in JSON
JsonFloat = Annotated[float, BeforeValidator(_no_boolean_or_text)]
