"""What every reader of a data set gives: references, labelled pictures, and where their masks are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Layout = Literal["mvtec-ad", "visa", "real-iad", "3d-adam", "folder"]
GOOD = "good"


class DatasetError(ValueError):
    """A folder that is not the data set it should be; the message is one line that says what is wrong."""


@dataclass(frozen=True)
class Reference:
    """A picture of a good part to compare with."""

    path: Path
    category: str


@dataclass(frozen=True)
class Sample:
    """A picture to judge. kind: `good`, or the name of its defect.

    mask: the picture of its defective pixels; None for a good part, and where nobody drew one.
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
class Dataset:
    """A data set as read: references and samples, each ordered by category, then by path."""

    layout: Layout
    folder: Path
    references: tuple[Reference, ...]
    samples: tuple[Sample, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, sorted."""
        return tuple(sorted({reference.category for reference in self.references}))

    def only(self, categories: tuple[str, ...]) -> Dataset:
        """The data set of some categories. DatasetError for a name it does not have."""
        unknown = sorted(set(categories) - set(self.categories))
        if unknown:
            raise DatasetError(f"no category {unknown[0]!r} in {self.folder}: it has {', '.join(self.categories)}")
        return Dataset(
            self.layout, self.folder,
            tuple(each for each in self.references if each.category in categories),
            tuple(each for each in self.samples if each.category in categories),
        )  # fmt: skip
