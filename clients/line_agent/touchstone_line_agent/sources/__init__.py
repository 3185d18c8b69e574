"""Where parts come from: sources that bring pictures by themselves, and cameras that take one when asked to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class NoPicture(Exception):
    """A camera that gave no picture; the message says why in one line."""


@dataclass(frozen=True)
class Taken:
    """A picture that a source brings. origin: names it once and for all, so that it is never taken twice."""

    data: bytes
    filename: str
    part_id: str
    origin: str


class Feed(Protocol):
    """A source that brings pictures by itself, and can wait."""

    async def run(self, take: Callable[[Taken], Awaitable[None]]) -> None:
        """Bring pictures, each once, until there are no more. `take` returns when one is safe, which may take time."""


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
