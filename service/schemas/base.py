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


def _a_date_and_time(value: object) -> object:
    """pydantic takes a number, also as text, for seconds since 1970."""
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("a date and time is needed, such as 2026-01-31T06:00:00Z")
    return value


JsonTime = Annotated[AwareDatetime, BeforeValidator(_a_date_and_time)]
