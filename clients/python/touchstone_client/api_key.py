"""An API key, read from a file or checked before it is sent in a header."""

from __future__ import annotations

import re
from pathlib import Path

from touchstone_client.text import read_text

_KEY = re.compile(r"[!-~]+")  # characters that may follow `Bearer` in a header


def validate_api_key(key: str, source: str = "the API key") -> str:
    """Return the key. ValueError, naming the source but never the key, when it cannot be one."""
    if not key:
        raise ValueError(f"{source} is empty")
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"{source} is not an API key: only printable ASCII without spaces is allowed")
    return key


def read_api_key(path: Path) -> str:
    """Return the API key in a text file (UTF-8 or UTF-16). OSError; ValueError naming the file."""
    return validate_api_key(read_text(path).strip(), str(path))
