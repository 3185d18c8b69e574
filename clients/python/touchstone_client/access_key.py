"""An access key as people hand it over: in a file, or in the environment."""

from __future__ import annotations

import re
from pathlib import Path

from touchstone_client.text import read_text

_KEY = re.compile(r"[!-~]+")  # what fits in a header after `Bearer`


def checked(key: str, where: str = "the access key") -> str:
    """The key, if it may be one. ValueError that says what is wrong with it, and never the key."""
    if not key:
        raise ValueError(f"{where} is empty")
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"{where} holds more than a key: only letters, digits and signs of ASCII, without spaces")
    return key


def read_key(path: Path) -> str:
    """The access key that a file holds, whatever editor wrote it. OSError; ValueError naming the file."""
    return checked(read_text(path).strip(), str(path))
