"""What all answers have in common, and all bodies of JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Strict


class ResponseModel(BaseModel):
    """Base class of response bodies."""

    model_config = ConfigDict(frozen=True)


def _no_boolean_or_text(value: object) -> object:
    """JSON's true is no 1, and its "1" neither, although both are to Python's `int`."""
    if isinstance(value, bool | str):
        raise ValueError("a number is needed, not true, false or text")
    return value


# 3.0 is an integer in JSON. Bounds stand before it in an annotation: behind it their names are lost to the schema.
JSON_INTEGER = BeforeValidator(_no_boolean_or_text)
JsonInt = Annotated[int, JSON_INTEGER]
JsonFloat = Annotated[float, Strict()]


def _written_out(value: object) -> object:
    """A number, also as text, would be read as seconds since 1970, which the description does not offer."""
    if not isinstance(value, str) or "-" not in value.strip().lstrip("-"):
        raise ValueError("give a date and time such as 2026-01-31T06:00:00Z")
    return value


WRITTEN_OUT = BeforeValidator(_written_out)
JsonTime = Annotated[AwareDatetime, WRITTEN_OUT]
