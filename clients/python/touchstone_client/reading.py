"""JSON → the dataclasses of `answers`, checked against their own type hints."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from touchstone_client.errors import BadAnswer

T = TypeVar("T")


def read(kind: type[T], value: object) -> T:
    """A value of JSON as a dataclass. Unknown fields are passed over; BadAnswer when a known one does not fit."""
    return cast(T, _read(kind, value, kind.__name__))


def _read(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _read_fields(kind, value, where)
    if origin in (Union, types.UnionType):
        return _read_one_of(get_args(kind), value, where)
    if origin is tuple and isinstance(value, list):
        of = get_args(kind)
        kinds = [of[0]] * len(value) if of[-1] is Ellipsis else of
        if len(kinds) == len(value):
            return tuple(_read(each, item, where) for each, item in zip(kinds, value, strict=True))
    if origin is Mapping and isinstance(value, dict):
        return {name: _read(get_args(kind)[1], inner, f"{where}.{name}") for name, inner in value.items()}
    if kind is Any:
        return value
    if origin is Literal and isinstance(value, str):
        return value  # a newer service may know more words than this client
    if kind is datetime and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise BadAnswer(f"The answer has {value!r} at {where}, where {kind} belongs.")


def _read_fields(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = _hints(kind)
    missing = _required(kind) - value.keys()
    if missing:
        raise BadAnswer(f"The answer lacks {', '.join(sorted(missing))} at {where}.")
    return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in hints if name in value})


def _read_one_of(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    fitting = [each for each in kinds if each is not types.NoneType]
    if len(fitting) > 1 and isinstance(value, dict):
        fitting = [each for each in fitting if _required(each) <= value.keys()] or fitting
    return _read(fitting[0], value, where)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _required(kind: Any) -> frozenset[str]:
    without = (field for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING)
    return frozenset(field.name for field in without)
