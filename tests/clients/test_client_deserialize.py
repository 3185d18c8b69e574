"""JSON as the models' dataclasses: what is accepted of a newer service, and what is an invalid response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pytest

from touchstone_client import InvalidResponse
from touchstone_client.deserialize import deserialize
from touchstone_client.models import Box


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A part of a model."""

    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Model:
    """One field of each kind that the generated models have."""

    name: str
    count: int
    ratio: float
    created: datetime
    state: Literal["ready", "pending"]
    weights: tuple[float, ...] | None
    cell: tuple[int, int]
    counts: Mapping[str, int]
    shapes: tuple[Shape, ...] = ()


VALUE = {
    "name": "a",
    "count": 1,
    "ratio": 1,
    "created": "2026-01-01T00:00:00Z",
    "state": "ready",
    "weights": [1, 2],
    "cell": [3, 4],
    "counts": {"normal": 5},
    "shapes": [{"box": [1, 2, 3, 4]}, {"box": None}, {}],
}


def test_a_value_becomes_a_model_with_python_types() -> None:
    model = deserialize(Model, VALUE)
    assert model.created.tzinfo is not None
    assert (model.ratio, model.weights, model.cell, model.counts) == (1.0, (1.0, 2.0), (3, 4), {"normal": 5})
    assert [shape.box for shape in model.shapes] == [Box(1.0, 2.0, 3.0, 4.0), None, None]
    assert model.shapes[0].box is not None
    assert model.shapes[0].box.width == 3.0


def test_fields_and_words_of_a_newer_service_are_accepted() -> None:
    assert deserialize(Model, {**VALUE, "added_later": [1]}) == deserialize(Model, VALUE)
    assert deserialize(Model, {**VALUE, "state": "added-later"}).state == "added-later"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("count", True),
        ("count", 1.5),
        ("ratio", "1"),
        ("created", "yesterday"),
        ("weights", [1, None]),
        ("cell", [1, 2, 3]),
        ("counts", {"normal": "five"}),
        ("shapes", [{"box": [1, 2, 3]}]),
    ],
)
def test_a_value_of_the_wrong_type_is_an_invalid_response_that_names_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidResponse, match=f"Model.{field}"):
        deserialize(Model, {**VALUE, field: value})


def test_a_missing_field_is_an_invalid_response_that_names_it() -> None:
    with pytest.raises(InvalidResponse, match="lacks count, name at Model"):
        deserialize(Model, {name: value for name, value in VALUE.items() if name not in ("name", "count")})
