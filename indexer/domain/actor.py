"""The author of a change, for the audit trail."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """The author of a change. name: of the API key, or a description without one; key_id: of the key; request_id: as in
    the log.
    """

    name: str
    key_id: str | None = None
    request_id: str | None = None


# A context variable and not a parameter: it follows a request into the threads that work for it, and a call that
# forgot to pass it on would leave a change without its author.
acting: ContextVar[Actor] = ContextVar("acting", default=Actor("touchstone"))  # noqa: B039 - it is frozen
