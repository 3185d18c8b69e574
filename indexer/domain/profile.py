"""How a category's references were stored: what decides whether another image can be compared with them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Literal

from indexer.domain.bit_depth import FULL, BitDepth, infer_bit_depth
from indexer.domain.encoding import Encoding
from indexer.domain.notice import Notice
from indexer.domain.reading import Reading

_SOME = 0.1  # of the references: as many, stored like an image, and the category's threshold knows such
_NEARLY_ALL = 0.9
_OTHER_SIZE = 1.5  # larger or smaller by this factor

# By which calibration an image was judged: the category's own, one for images that are stored like it, or none yet.
CalibrationKind = Literal["own", "adapted", "waiting"]
_JUDGED: dict[CalibrationKind, str] = {
    "own": "Scores may be higher for that alone: store both alike.",
    "adapted": "It was judged by references stored like it; faint defects show best when both are stored alike.",
    "waiting": "Until it is calibrated for such images, which has begun, the verdict is uncalibrated.",
}


@dataclass(frozen=True)
class EncodingGroup:
    """References that were stored and read alike. encoding: None of those added before it was noted."""

    encoding: Encoding | None
    reading: Reading
    width: int
    height: int
    count: int

    @property
    def compared_as(self) -> Encoding | None:
        """As what they are compared: as they are stored, or as they were stored again when they were read."""
        return self.reading.stored_as or self.encoding


@dataclass(frozen=True)
class Profile:
    """The references of one category."""

    groups: tuple[EncodingGroup, ...] = ()

    @cached_property
    def count(self) -> int:
        """All references."""
        return sum(group.count for group in self.groups)

    @cached_property
    def _counts(self) -> dict[Encoding, int]:
        """The number of references per encoding, as far as known."""
        counts: dict[Encoding, int] = {}
        for group in self.groups:
            if group.compared_as is not None:
                counts[group.compared_as] = counts.get(group.compared_as, 0) + group.count
        return counts

    @cached_property
    def most_common(self) -> Encoding | None:
        """What most references were stored as; None where it is not known of any."""
        # Of equally common ones the same in every process, whatever the order in which the database names them.
        return max(self._counts, key=lambda encoding: (self._counts[encoding], encoding.to_json()), default=None)

    @cached_property
    def typical(self) -> Encoding | None:
        """The commonest encoding, when nearly all references were stored like that; else None."""
        commonest = self.most_common
        if commonest is None or self._like(commonest) < _NEARLY_ALL * self.count:
            return None
        return commonest

    def with_groups(self, groups: Iterable[EncodingGroup]) -> Profile:
        """With further references."""
        return Profile((*self.groups, *groups))

    @property
    def depths_are_open(self) -> bool:
        """Whether no reference tells how files of 16 bits a channel are read: none has them, of none it is unknown."""
        return all(group.encoding is not None and group.encoding.bits < 16 for group in self.groups)

    def reading(self, depth: BitDepth | None, max_value: int | None) -> Reading:
        """How further references are read. depth: what was decided; None for nothing yet.

        max_value: the largest value in those of them that have 16 bits a channel; None without such. While nothing is
        decided and there are no such references, it tells how many bits are used. From then on they are read alike,
        whatever their values, so that the depth cannot change from image to image.
        """
        if depth is None and max_value is not None and self.depths_are_open:
            depth = infer_bit_depth(max_value)
        return Reading(depth or FULL, self.stored_as)

    def other_depths(self, depth: BitDepth) -> int:
        """How many references of 16 bits a channel were read as of another depth."""
        deep = [group for group in self.groups if group.encoding is not None and group.encoding.bits == 16]
        return sum(group.count for group in deep if group.reading.depth != depth)

    @property
    def stored_as(self) -> Encoding | None:
        """The JPEG that finer images have to be stored as before they are compared; None where that is not so."""
        typical = self.typical
        return typical if typical is not None and typical.can_be_made else None

    def knows(self, encoding: Encoding) -> bool:
        """Whether enough references were stored like an image of this encoding; also where nothing is known of them."""
        return self._like(encoding) >= _SOME * sum(self._counts.values())

    def is_finer_than(self, encoding: Encoding) -> bool:
        """Whether nearly all references would be like an image of this encoding, had they been stored so, too."""
        finer = sum(count for stored, count in self._counts.items() if stored.is_finer_than(encoding))
        return not self.knows(encoding) and finer >= _NEARLY_ALL * self.count

    def _like(self, encoding: Encoding) -> int:
        """How many references were stored like that."""
        return sum(count for stored, count in self._counts.items() if stored.is_like(encoding))

    def notices_of_part(
        self, encoding: Encoding, reading: Reading, width: int, height: int, calibration: CalibrationKind
    ) -> list[Notice]:
        """How an inspected image, as it was read, differs from the references. calibration: which one judged it."""
        alike = self._read_alike(encoding, reading)
        if not alike and not self.knows(encoding):
            description = "of several kinds" if self.typical is None else str(self.typical)
            alike.append(
                Notice(
                    "encoding_mismatch", f"It is {encoding}; the references are {description}. {_JUDGED[calibration]}"
                )
            )
        return [*alike, *self._of_size(width, height)]

    def notices_of_reference(self, encoding: Encoding, reading: Reading, width: int, height: int) -> list[Notice]:
        """What differs between a new reference, which the profile holds already, and most of the others."""
        alike = self._read_alike(encoding, reading)
        if not alike and self.most_common is not None and not self.most_common.is_like(encoding):
            detail = f"It is {encoding}; most references of the category are {self.most_common}. Store all alike."
            alike.append(Notice("encoding_mismatch", detail))
        return [*alike, *self._of_size(width, height)]

    def _read_alike(self, encoding: Encoding, reading: Reading) -> list[Notice]:
        if reading.stored_as is None:
            return []
        detail = f"It is {encoding}; it was read as {reading.stored_as}, which the references are."
        return [Notice("reencoded_as_references", detail)]

    def _of_size(self, width: int, height: int) -> list[Notice]:
        typical = self._usual_side
        times = math.sqrt(width * height) / typical if typical else 1.0
        if 1 / _OTHER_SIZE <= times <= _OTHER_SIZE:
            return []
        detail = (
            f"It has {width} × {height} pixels, {times:.2g} times as many a side as the references usually have: "
            "fine detail looks different then."
        )
        return [Notice("size_mismatch", detail)]

    @cached_property
    def _usual_side(self) -> float:
        """The median of the references' sides in pixels, if they were square; 0 without any."""
        sides = [math.sqrt(group.width * group.height) for group in self.groups for _ in range(group.count)]
        return median(sides) if sides else 0.0
