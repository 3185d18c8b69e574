"""Turns the asynchronous client's source into the synchronous client's."""

from __future__ import annotations

import re

HEADER = '"""The synchronous client. Generated from `async_client.py` by `make clients`: do not edit."""'

_REPLACEMENTS = [
    (r'\A""".*?"""', HEADER),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\bAsync(Iterator|Client|Connection|BaseTransport)\b", r"\1"),
    (r"\bfrom asyncio import sleep\b", "from time import sleep"),
    (r"Belongs to one event loop\.", "Safe to share between threads."),
]


def generate(source: str) -> str:
    """The synchronous module's text."""
    for pattern, replacement in _REPLACEMENTS:
        source = re.sub(pattern, replacement, source, flags=re.DOTALL)
    return source
