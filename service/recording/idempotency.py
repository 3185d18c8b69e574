"""Recognises a repeated request by its `Idempotency-Key`."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from service.inference.decoder import Upload


@dataclass(frozen=True)
class KeyedRequest:
    """What a request is recognised by.

    key: of the client's API key and its `Idempotency-Key`, so that two clients may count from 1. digest: of what was
    sent under it, images and fields; file names, which a client may make up anew, do not count. Both are hex of 64
    digits.
    """

    key: str
    digest: str

    @classmethod
    def of(cls, client: str | None, idempotency_key: str, upload: Upload, fields: Mapping[str, object]) -> KeyedRequest:
        """client: id of the API key; None where access is open. fields: in JSON's types."""
        images = [hashlib.sha256(file.data).hexdigest() for file in upload.files]
        return cls(_digest([client, idempotency_key]), _digest([images, fields]))

    def inspection_id(self, position: int) -> str:
        """The id of one image's inspection: always the same, so that it cannot be recorded twice."""
        return _digest([self.key, position])[:32]


def new_inspection_id() -> str:
    """The id of an inspection that answers a request without a key."""
    return uuid.uuid4().hex


def _digest(values: list[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
