"""Parses multipart uploads within limits on files, fields."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from indexer.text import MAX_FILENAME_LENGTH, TextRejected, plain, readable, utf8
from service.http import multipart
from service.http.problem_types import ProblemError
from service.inference.decoder import ImageFile, Upload

IMAGES = "images"
Fields = TypeVar("Fields", bound=BaseModel)
_MAX_FIELDS = 16


class NoFields(BaseModel):
    """An upload without text fields."""

    model_config = ConfigDict(extra="forbid")


async def read_upload(request: Request, fields: type[Fields], max_images: int) -> tuple[Upload, Fields]:
    """Read a multipart body: files under `images`, and text fields as a model describes them.

    ProblemError for anything else, RequestValidationError for values that the model refuses.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ProblemError("invalid-request", f"Send multipart/form-data with one or more files under {IMAGES!r}.")
    try:
        body = await multipart.Body.read(request, max_images, _MAX_FIELDS)
    except MultiPartException as error:
        if "Too many files" in error.message:
            fits = "Only one image fits" if max_images == 1 else f"At most {max_images} images fit"
            raise ProblemError("request-too-large", f"{fits} in one request: send the others in another.") from None
        raise ProblemError("invalid-request", f"The multipart body cannot be read: {error.message}") from None
    files: list[ImageFile] = []
    values: dict[str, str] = {}
    try:
        for raw, value in body.items():
            name = raw.decode(errors="replace")
            if isinstance(value, UploadFile) and name == IMAGES:
                files.append(_file(multipart.filename(value), await value.read()))
                await value.close()  # in memory once, not twice
            elif isinstance(value, bytes) and name in fields.model_fields and name not in values:
                values[name] = _text(name, value)
            else:
                raise _unexpected(name, fields)
    finally:
        await body.close()
    if not files:
        raise ProblemError("invalid-request", f"No image was sent: send one or more files under {IMAGES!r}.")
    try:
        return Upload(tuple(files)), fields.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_context=False)) from None


def _file(raw: bytes, data: bytes) -> ImageFile:
    try:
        return ImageFile(plain(PurePath(utf8(raw)).name, MAX_FILENAME_LENGTH) or "unnamed", data)
    except TextRejected as refused:
        name = readable(raw.decode(errors="replace"), MAX_FILENAME_LENGTH)
        return ImageFile(name, data, f"The file's name {refused}: send it under another.")


def _text(name: str, raw: bytes) -> str:
    try:
        return utf8(raw)
    except TextRejected as refused:
        raise ProblemError("invalid-request", f"{name}: the text {refused}.") from None


def _unexpected(name: str, fields: type[BaseModel]) -> ProblemError:
    if name == IMAGES:
        detail = f"A part {IMAGES!r} has no file name, so it is text: send each image as a file, with `filename=`."
        return ProblemError("invalid-request", detail)
    expected = ", ".join(repr(field) for field in fields.model_fields)
    more = f", and at most one of each of {expected}" if expected else ""
    return ProblemError("invalid-request", f"Unexpected field {readable(name)!r}: send files under {IMAGES!r}{more}.")


def documented_upload(fields: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a multipart body of `images` and the fields of a model."""
    described = fields.model_json_schema()
    images = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "description": "JPEG, PNG, BMP, TIFF or WebP files.",
    }
    schema = {
        "type": "object",
        "properties": {IMAGES: images, **described["properties"]},
        "required": [IMAGES, *described.get("required", ())],
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
