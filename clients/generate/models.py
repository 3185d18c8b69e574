"""Turns the service's OpenAPI document into the Python client's models: documented, frozen dataclasses."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

HEADER = '''"""What the service returns. Generated from its OpenAPI document by `make clients`: do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypedDict

from touchstone_client.errors import ProblemDetails
'''

# Schema names lose these endings ...
_SUFFIX = re.compile(r"(View|Answer|Response)$")
# ... and these get a name that is clear on its own.
_NAMES = {
    "Detect": "DetectResponse",
    "Key": "ApiKey",
    "Keys": "ApiKeys",
    "Map": "AnomalyMap",
    "NewKey": "NewApiKey",
    "RegionOfInterestBody": "Polygons",
    "PreviewRequest": "PreviewedSettings",
    "Problem": "ProblemDetails",
    "References": "ReferencesResponse",
    "Settings": "CategorySettings",
    "CategoryPatch": "SettingsChanges",
    "GeometryBody": "GeometryChoice",
    "Task": "BackgroundTask",
    "Unfamiliar": "UnfamiliarThreshold",
}
# Values that several models share, by the model and field that list them all.
_LITERALS = {
    "Verdict": ("Inspection", "verdict"),
    "Label": ("Inspection", "label"),
    "FindingKind": ("Finding", "kind"),
    "Role": ("ApiKey", "role"),
    "BitDepth": ("CategorySettings", "bit_depth"),
    "OnMismatch": ("Geometry", "on_mismatch"),
    "ReviewReason": ("Inspection", "review"),
}
_EXTENDS = {"Detection": "Inspection", "NewApiKey": "ApiKey"}
_REQUESTS = (
    "SettingsChanges",
    "PreviewedSettings",
    "Polygons",
    "GeometryChoice",
)  # bodies that callers build; other bodies are arguments of methods
_WRITTEN_BY_HAND = {"ProblemDetails"}
_SECRETS = {"token"}
_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_WIDTH = 120

BOX = '''
class Box(NamedTuple):
    """A rectangle in image coordinates."""

    x: float
    y: float
    width: float
    height: float
'''


def generate(document: Schema) -> str:
    """The module's text for an OpenAPI document. ValueError when a name in the tables above no longer exists."""
    models = _Models(document)
    parts = [HEADER, *models.literals(), BOX]
    parts += [models.dataclass(name) for name in models.returned() if name not in _WRITTEN_BY_HAND]
    parts += [models.typed_dict(name) for name in _REQUESTS]
    return "\n".join(parts)


class _Models:
    """The document's schemas under the names that the client gives them."""

    def __init__(self, document: Schema) -> None:
        self._paths = document["paths"]
        self._schemas: dict[str, Schema] = {}
        for name, schema in document["components"]["schemas"].items():
            if self._schemas.setdefault(model_name(name), schema) is not schema:
                raise ValueError(f"two schemas would be named {model_name(name)}: correct clients/generate/models.py")
        with_values = {model for model, _ in _LITERALS.values()}
        expected = {*_NAMES.values(), *_EXTENDS, *_EXTENDS.values(), *_REQUESTS, *with_values}
        if missing := sorted(expected - self._schemas.keys()):
            raise ValueError(f"the OpenAPI document has no {', '.join(missing)}: correct clients/generate/models.py")
        self._literals = {
            _values(self._schemas[model]["properties"][field]): literal for literal, (model, field) in _LITERALS.items()
        }

    def returned(self) -> list[str]:
        """The models that the service's responses consist of, each after those that it refers to."""
        names: dict[str, None] = {}
        for schema in self._responses():
            self._collect(schema, names)
        return list(names)

    def literals(self) -> Iterator[str]:
        """The shared value sets."""
        for values, name in self._literals.items():
            yield f"{name} = {_literal(values)}"

    def dataclass(self, name: str) -> str:
        """The dataclass of a model."""
        base = _EXTENDS.get(name)
        inherited = self._schemas[base]["properties"] if base else {}
        lines = ["", "@dataclass(frozen=True, kw_only=True)", f"class {name}{f'({base})' if base else ''}:"]
        lines += _docstring(self._schemas[name].get("description", ""))
        required = self._schemas[name].get("required", ())
        for field, schema in self._schemas[name]["properties"].items():
            if field in inherited:
                continue
            always_sent = field in required or "const" in schema
            default = "" if always_sent else f" = {_default(schema.get('default'))}"
            if field in _SECRETS:
                default = " = field(repr=False)"
            lines.append(f"    {field}: {self._type(schema, field, 'tuple[{}, ...]')}{default}")
            lines += _field_docstring(schema.get("description", ""))
        return "\n".join([*lines, ""])

    def typed_dict(self, name: str) -> str:
        """The dictionary type of a request body."""
        properties = self._schemas[name]["properties"]
        partial = "" if set(self._schemas[name].get("required", ())) == set(properties) else ", total=False"
        lines = ["", f"class {name}(TypedDict{partial}):", *_docstring(self._schemas[name].get("description", ""))]
        for field, schema in properties.items():
            lines.append(f"    {field}: {self._type(schema, field, 'Sequence[{}]')}")
            lines += _field_docstring(" ".join(filter(None, (schema.get("description", ""), _range(schema)))))
        return "\n".join([*lines, ""])

    def _responses(self) -> Iterator[Schema]:
        for operations in self._paths.values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    if status.startswith("2") and "application/json" in response.get("content", {}):
                        yield response["content"]["application/json"]["schema"]

    def _collect(self, schema: Schema, names: dict[str, None]) -> None:
        if "$ref" in schema:
            name = _referred(schema)
            if name in names:
                return
            for inner in self._schemas[name]["properties"].values():
                self._collect(inner, names)
            if name in _EXTENDS:
                self._collect({"$ref": _EXTENDS[name]}, names)
            names[name] = None
        for inner in _inner_schemas(schema):
            self._collect(inner, names)

    def _type(self, schema: Schema, field: str, array: str) -> str:
        if "$ref" in schema:
            return _referred(schema)
        if "anyOf" in schema:
            return " | ".join(self._type(inner, field, array) for inner in schema["anyOf"])
        if "const" in schema or "enum" in schema:
            return self._literals.get(_values(schema)) or _literal(_values(schema))
        if "prefixItems" in schema:
            if field == "box":
                return "Box"
            types = [self._type(inner, field, array) for inner in schema["prefixItems"]]
            return array.format(types[0]) if array.startswith("Seq") else f"tuple[{', '.join(types)}]"
        match schema.get("type"):
            case "array":
                return array.format(self._type(schema["items"], field, array))
            case "object":
                values = schema.get("additionalProperties")
                key = self._type(schema["propertyNames"], field, array) if "propertyNames" in schema else "str"
                return f"Mapping[{key}, {self._type(values, field, array) if isinstance(values, Mapping) else 'Any'}]"
            case "string" if schema.get("format") == "date-time":
                return "datetime"
            case None:
                return "Any"
            case kind:
                return _SCALARS[kind]


def model_name(name: str) -> str:
    """The client's name of a schema."""
    short = _SUFFIX.sub("", name)
    return _NAMES.get(short, short)


def _referred(schema: Schema) -> str:
    return model_name(schema["$ref"].rpartition("/")[2])


def _inner_schemas(schema: Schema) -> Iterator[Schema]:
    yield from schema.get("anyOf", ())
    yield from schema.get("prefixItems", ())
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield schema[key]


def _values(schema: Schema) -> tuple[object, ...]:
    """The values that a schema allows, null aside."""
    for inner in schema.get("anyOf", ()):
        if "enum" in inner:
            return tuple(inner["enum"])
    return tuple(schema["enum"]) if "enum" in schema else (schema["const"],)


def _literal(values: tuple[object, ...]) -> str:
    return f"Literal[{', '.join(map(repr, values))}]"


def _default(value: object) -> str:
    """A default as Python; an absent one is null, as everywhere in this API."""
    return "()" if value == [] else repr(value)


def _range(schema: Schema) -> str:
    """The numbers that a request's field may have."""
    for inner in (schema, *schema.get("anyOf", ())):
        low = inner.get("minimum")
        high, below = inner.get("maximum"), inner.get("exclusiveMaximum")
        if low is not None and (high is not None or below is not None):
            return f"{low:g} to {high:g}." if high is not None else f"At least {low:g}, less than {below:g}."
    return ""


def _field_docstring(description: str) -> list[str]:
    """The docstring below a field, set off from the next field."""
    return [*_docstring(description), ""] if description else []


def _docstring(description: str) -> list[str]:
    """Lines of a docstring in a class's body; the JSON null of descriptions is Python's None."""
    if not description:
        return []
    text = re.sub(r"\bnull\b", "None", re.sub(r"\bNull\b", "None", description.strip()))
    paragraphs = [_wrap(" ".join(paragraph.split())) for paragraph in text.split("\n\n")]
    lines = "\n\n".join(paragraphs).splitlines()
    if len(lines) == 1 and len(lines[0]) <= _WIDTH - 10:
        return [f'    """{lines[0]}"""']
    return [f'    """{lines[0]}', *(f"    {line}".rstrip() for line in lines[1:]), '    """']


def _wrap(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH - 7, break_long_words=False, break_on_hyphens=False)
