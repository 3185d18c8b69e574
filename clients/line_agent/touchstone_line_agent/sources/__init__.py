"""Where parts come from: sources that bring pictures by themselves, and cameras that take one when asked to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from touchstone_line_agent.parts import Finding


class NoPicture(Exception):
    """A camera that gave no picture; the message says why in one line."""


@dataclass(frozen=True)
class Taken:
    """A part that a source brings. origin: names it once and for all, so that it is never taken twice.

    missing: what becomes of it, where there is no data.
    """

    data: bytes | None
    filename: str
    part_id: str
    origin: str
    missing: Finding | None = None


class Feed(Protocol):
    """A source that brings pictures by itself, and can wait."""

    @property
    def trouble(self) -> str:
        """Why something is not brought now; empty when all is well."""

    async def run(self, take: Callable[[Taken], Awaitable[None]], forget: Callable[[str], Awaitable[None]]) -> None:
        """Bring pictures, each once, until there are no more.

        `take` returns when one is safe, which may take time. `forget` is told an origin that can never be brought
        again, so that what comes under the same one later is another part.
        """


@runtime_checkable
class Camera(Protocol):
    """A source that takes a picture when asked to."""

    async def picture(self) -> bytes:
        """A PNG of a frame that was exposed after the call. NoPicture."""

    @property
    def trouble(self) -> str:
        """Why there would be no picture now, as far as is known; empty when there would."""

    async def close(self) -> None:
        """Let go of the camera."""
