"""Interfaces of sources: feeds, which deliver images by themselves, and cameras, which capture on demand."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from cv2.typing import MatLike

from touchstone_line_agent.part import InspectionResult


class CaptureFailed(Exception):
    """A source delivered no image; the message says why in one line."""


@dataclass(frozen=True)
class CapturedImage:
    """A part that a feed delivers.

    origin: identifies it, so that it is inspected once. fallback: its result when there is no data.
    """

    data: bytes | None
    filename: str
    part_id: str
    origin: str
    fallback: InspectionResult | None = None


class Feed(Protocol):
    """Delivers images by itself, and can wait."""

    @property
    def error(self) -> str:
        """Why images are not delivered now; empty otherwise."""

    async def run(
        self, accept: Callable[[CapturedImage], Awaitable[None]], release: Callable[[str], Awaitable[None]]
    ) -> None:
        """Deliver each image once, until there are no more.

        accept: returns when the image is stored, which may take time. release: receives an origin that can never be
        delivered again, so that the next image of the same origin is a new part.
        """


@dataclass(frozen=True, eq=False)
class Frame:
    """An image of a camera, to be looked at.

    values: (height, width), or (height, width, 3) BGR; uint8 or uint16. taken_at: on the monotonic clock, s.
    """

    values: MatLike
    taken_at: float = field(default_factory=time.monotonic)


@runtime_checkable
class FrameSource(Protocol):
    """Shows what its camera sees, beside the parts; a folder does not."""

    @property
    def frame(self) -> Frame | None:
        """The latest frame; None while there is none."""


@runtime_checkable
class Camera(Protocol):
    """Captures an image on demand."""

    async def capture(self) -> bytes:
        """A frame exposed after the call, as PNG. CaptureFailed."""

    @property
    def error(self) -> str:
        """Why a capture would fail now, as far as is known; empty otherwise."""

    async def close(self) -> None:
        """Release the camera."""
