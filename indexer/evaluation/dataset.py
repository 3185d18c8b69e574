"""The result of every data set reader: references, labelled images, and paths of their masks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Layout = Literal["mvtec-ad", "visa", "real-iad", "3d-adam", "folder"]
GOOD = "good"


class DatasetError(ValueError):
    """A folder that is not a valid data set; the message is one line with the reason."""


@dataclass(frozen=True)
class Reference:
    """An image of a good part to compare with."""

    path: Path
    category: str


@dataclass(frozen=True)
class Sample:
    """An image to judge. kind: `good`, or the name of its defect.

    mask: the image of its defective pixels; None for a good part, and where nobody drew one.
    numbered: the mask's pixels are numbers of defect types, as in VisA's own files, not levels of grey.
    """

    path: Path
    category: str
    kind: str
    mask: Path | None = None
    numbered: bool = False

    @property
    def defective(self) -> bool:
        """Whether the part is defective."""
        return self.kind != GOOD

    @property
    def pixels_known(self) -> bool:
        """Whether it is known which of its pixels are defective: not so for a defect without a mask."""
        return self.mask is not None or not self.defective


@dataclass(frozen=True)
class LeftOut:
    """A file that cannot be used, or a whole category, and why."""

    path: Path
    detail: str


@dataclass(frozen=True)
class Dataset:
    """A data set as read: references and samples, each ordered by category, then by path.

    left_out: what was found that cannot be used.
    """

    layout: Layout
    folder: Path
    references: tuple[Reference, ...]
    samples: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(sorted({reference.category for reference in self.references}))

    @property
    def files(self) -> int:
        """How many images and masks it has."""
        return len(self.references) + len(self.samples) + sum(sample.mask is not None for sample in self.samples)


def chosen(names: Iterable[str], requested: Collection[str], folder: Path) -> list[str]:
    """The requested categories of a folder, sorted; all if none is named.

    DatasetError for a name that the folder does not have.
    """
    present = sorted(names)
    unknown = sorted(set(requested) - set(present))
    if unknown:
        raise DatasetError(f"no category {unknown[0]!r} in {folder}: it has {', '.join(present)}")
    return [name for name in present if not requested or name in requested]
