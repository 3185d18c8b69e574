"""Builds the models' dataclasses from JSON, checked against their own type hints."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from touchstone_client.errors import InvalidResponse

T = TypeVar("T")


def deserialize(kind: type[T], value: object) -> T:
    """A JSON value as an instance of a dataclass. Unknown fields are ignored. InvalidResponse when a known one does
    not have its type.
    """
    return cast(T, _value(kind, value, kind.__name__))


def _value(kind: Any, value: Any, path: str) -> Any:
    origin = get_origin(kind)
    if is_dataclass(kind) and isinstance(value, dict):
        return _instance(kind, value, path)
    if origin in (Union, types.UnionType):
        return _union_member(get_args(kind), value, path)
    if origin is tuple and isinstance(value, list):
        arguments = get_args(kind)
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_value(item_kind, item, path) for item_kind, item in zip(kinds, value, strict=True))
    if _is_named_tuple(kind) and isinstance(value, list) and len(value) == len(kind._fields):
        hints = _hints(kind)
        return kind(*(_value(hints[name], item, path) for name, item in zip(kind._fields, value, strict=True)))
    if origin is Mapping and isinstance(value, dict):
        return {name: _value(get_args(kind)[1], item, f"{path}.{name}") for name, item in value.items()}
    if kind is Any:
        return value
    if origin is Literal and isinstance(value, str):
        return value  # a newer service may return words that this client does not list
    if kind is datetime and isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise InvalidResponse(f"The response has {value!r} at {path}, expected {kind}.")


def _instance(kind: Any, value: dict[str, Any], path: str) -> Any:
    if missing := _required(kind) - value.keys():
        raise InvalidResponse(f"The response lacks {', '.join(sorted(missing))} at {path}.")
    hints = _hints(kind)
    return kind(**{name: _value(hints[name], value[name], f"{path}.{name}") for name in hints if name in value})


def _union_member(kinds: tuple[Any, ...], value: Any, path: str) -> Any:
    """None, or the first member whose required fields are all present."""
    if value is None and types.NoneType in kinds:
        return None
    candidates = [kind for kind in kinds if kind is not types.NoneType]
    if len(candidates) > 1 and isinstance(value, dict):
        candidates = [kind for kind in candidates if _required(kind) <= value.keys()] or candidates
    return _value(candidates[0], value, path)


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _required(kind: Any) -> frozenset[str]:
    required = (field for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING)
    return frozenset(field.name for field in required)
