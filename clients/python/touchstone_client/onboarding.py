"""Splits an upload of references into calls, for either client to send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from touchstone_client import endpoints
from touchstone_client.endpoints import Call
from touchstone_client.errors import ImageRejected, InternalError, Problem, TooLarge
from touchstone_client.images import BatchLimits, ImageFile, ImageInput, batches
from touchstone_client.models import BitDepth, Calibration, FindingKind, ReferenceResult, ReferencesResponse
from touchstone_client.parameters import Resolution

_MAX_FAILURES = 3  # in a row, each on a single image


@dataclass(frozen=True)
class OnboardingProgress:
    """How many images have been processed, after each request. total: None when it is not known."""

    done: int
    total: int | None
    added: int
    duplicates: int
    rejected: int


@dataclass(frozen=True)
class OnboardingResult:
    """The result of every image, in order.

    version, calibration: as of the last response; None when every image was rejected.
    """

    category: str
    results: tuple[ReferenceResult, ...]
    version: int | None
    calibration: Calibration | None

    @property
    def added(self) -> int:
        """How many became references."""
        return self._count("added")

    @property
    def duplicates(self) -> int:
        """How many were references already."""
        return self._count("duplicate")

    @property
    def rejected(self) -> int:
        """How many cannot be used."""
        return self._count("rejected")

    def _count(self, status: str) -> int:
        return sum(result.status == status for result in self.results)


Steps: TypeAlias = Generator[Call[ReferencesResponse], ReferencesResponse, OnboardingResult]


def onboarding(
    category: str,
    images: Iterable[ImageInput],
    refuse: Sequence[FindingKind] | None,
    bit_depth: BitDepth | None,
    resolution: Resolution,
    limits: BatchLimits,
    progress: Callable[[OnboardingProgress], None] | None,
) -> Steps:
    """Yield calls; expects the response of each to be sent, or its error thrown, into the generator.

    A request that the service finds too large is split in half. A request that fails as a whole (every image rejected,
    an unreadable file, an internal error) is repeated image by image, so that each image has its own result. When
    several single images in a row fail with an internal error, the service is taken to be broken, and the error raised.
    """
    total = len(images) if isinstance(images, Sequence) else None
    result = OnboardingResult(category, (), None, None)
    remaining = batches(images, limits)
    split: deque[tuple[ImageFile, ...]] = deque()
    failures = 0
    while group := split.popleft() if split else next(remaining, None):
        try:
            response = yield endpoints.add_references(category, group, refuse, bit_depth, resolution)
        except (TooLarge, ImageRejected, InternalError, OSError) as error:
            if len(group) > 1:
                split.extendleft(reversed(_split(group, error)))
                continue
            failures = failures + 1 if isinstance(error, InternalError) else 0
            if failures == _MAX_FAILURES:
                raise
            result = replace(result, results=(*result.results, _rejected(group[0], error)))
        else:
            failures = 0
            results = (*result.results, *response.results)
            result = OnboardingResult(category, results, response.version, response.calibration)
        if progress is not None:
            done = len(result.results)
            progress(OnboardingProgress(done, total, result.added, result.duplicates, result.rejected))
    return result


def _split(group: tuple[ImageFile, ...], error: Problem | OSError) -> list[tuple[ImageFile, ...]]:
    if isinstance(error, TooLarge):
        return [group[: len(group) // 2], group[len(group) // 2 :]]
    return [(image,) for image in group]


def _rejected(image: ImageFile, error: Problem | OSError) -> ReferenceResult:
    if isinstance(error, OSError):
        reason, detail = "unreadable", error.strerror or str(error)
    else:
        reason = error.details.reason or error.details.type.rpartition("/")[2]
        detail = error.details.detail
    return ReferenceResult(filename=image.filename, status="rejected", reason=reason, detail=detail)
