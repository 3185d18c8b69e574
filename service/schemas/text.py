"""Text as the API takes it, by the rule of `indexer.text`: the types of its fields, parameters and headers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import BeforeValidator, Field

from indexer import text


def _by(rule: Callable[[str], str]) -> BeforeValidator:
    """Normalises or refuses before length and pattern are checked, which are there for the API's description."""
    return BeforeValidator(lambda value: rule(value) if isinstance(value, str) else value)


def _header(value: str) -> str:
    # A server hands headers over as latin-1, whatever they are.
    return text.plain(text.utf8(value.encode("latin-1")))


_SHORT = Field(min_length=1, max_length=text.MAX_LENGTH, pattern=text.PLAIN)

Text = Annotated[str, _SHORT, _by(text.plain)]
DefectClass = Annotated[str, _SHORT, _by(text.trimmed)]
Comment = Annotated[
    str,
    Field(min_length=1, max_length=text.MAX_COMMENT_LENGTH, pattern=text.PLAIN),
    _by(partial(text.trimmed, max_length=text.MAX_COMMENT_LENGTH)),
]
Message = Annotated[
    str,
    Field(min_length=1, max_length=text.MAX_MESSAGE_LENGTH, pattern=text.PLAIN),
    _by(partial(text.plain, max_length=text.MAX_MESSAGE_LENGTH)),
]
HeaderText = Annotated[str, _SHORT, _by(_header)]
CategoryName = Annotated[
    str,
    Field(min_length=1, max_length=text.MAX_LENGTH, pattern=text.CATEGORY_NAME, examples=["bracket-a"]),
    _by(text.category_name),
]
