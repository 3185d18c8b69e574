"""A data folder with a history in it, recorded as the service does, without a service."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.catalogue.engine import connect
from indexer.catalogue.stored_files import named_files
from indexer.catalogue.transactions import Transactions
from indexer.domain.inspection import Inspection
from indexer.domain.reference import NewReference
from indexer.domain.retention import RetentionLimits
from indexer.history.policy import RetentionPolicy
from indexer.history.pruner import Pruner
from tests.helpers.data_folder_process import GEOMETRY, StoreParts, write_segment

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
IMAGE, MAP, THUMBNAIL = 1000, 200, 100  # bytes


def image(number: int) -> bytes:
    return f"image {number} ".encode().ljust(IMAGE, b".")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def whole(size: int) -> bytes:
    """An image that can be decoded, of so many bytes."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    return file.getvalue().ljust(size, b".")


IMAGES = {digest(data): data for data in map(image, range(200))}


def inspection(number: int, **values: object) -> Inspection:
    """One a minute, as the service would have recorded it."""
    key = f"{number:032x}"
    made = Inspection(
        id=key,
        at=NOON + timedelta(minutes=number),
        filename=f"{number}.png",
        verdict="normal",
        score=0.1,
        version=1,
        width=64,
        height=48,
        category="bolt",
        image_sha256=digest(image(number)),
        image_suffix=".png",
        map_name=f"{key}.png",
        stored_bytes=IMAGE + MAP,
        thumbnail_bytes=THUMBNAIL,
    )
    return replace(made, **values)


class History(NamedTuple):
    """A data folder with a history in it."""

    folder: StoreParts
    data: Path
    url: str

    @classmethod
    def begin(cls, data: Path, url: str) -> History:
        """On a new data folder."""
        Catalogue.of(DataFolder.created(data, url)).close()
        folder = StoreParts.open(data, url)
        (data / "inspections").mkdir()
        return cls(folder, data, url)

    @property
    def catalogue(self) -> Catalogue:
        return self.folder.catalogue

    @property
    def place(self) -> DataFolder:
        return DataFolder.existing(self.data, self.url)

    def record(self, *inspections: Inspection) -> None:
        """Keep inspections with their files, in the order the service does it."""
        maps = self.data / "inspections"
        with self.folder.lock.shared():
            for recorded in inspections:
                self.folder.originals.write(IMAGES[str(recorded.image_sha256)], ".png")
                (maps / f"{recorded.id}.png").write_bytes(whole(MAP))
                (maps / f"{recorded.id}.jpg").write_bytes(whole(THUMBNAIL))
            self.catalogue.inspections.record(inspections)

    def call_good(self, number: int) -> None:
        """Make the image of an inspection a reference."""
        with self.folder.lock.shared():
            reference = NewReference(digest(image(number)), ".png", f"{number}.png", 64, 48)
            segment = write_segment(self.folder.segments, [image(number)])
            self.catalogue.inspections.promote(
                inspection(number).id, segment, reference, self.folder.memory.id, GEOMETRY
            )

    def pruner(self, **bounds: RetentionLimits) -> Pruner:
        return Pruner(self.place, self.catalogue, RetentionPolicy(**bounds), 0)

    def prune(self, **bounds: RetentionLimits) -> None:
        for _ in self.pruner(**bounds).prune_beyond_limits(usage.group for usage in self.catalogue.retention.usage()):
            pass

    def numbers(self) -> list[int]:
        """The inspections there are."""
        return sorted(int(recorded.id, 16) for recorded in self.catalogue.inspections.iterate())

    def with_images(self) -> list[int]:
        """Those whose images and maps are kept."""
        return sorted(
            int(recorded.id, 16)
            for recorded in self.catalogue.inspections.iterate()
            if recorded.stored_bytes is not None
        )

    def files(self) -> set[str]:
        """Every file of the history, of images and of coresets."""
        return {
            str(path.relative_to(self.data))
            for room in ("inspections", "originals", "coresets")
            for path in (self.data / room).rglob("*")
            if path.is_file()
        }

    def needed(self) -> set[str]:
        """Every such file that the catalogue names."""
        engine = connect(self.url)
        with Transactions(engine).reading() as connection:
            paths = {file.path for file in named_files(connection)}
        engine.dispose()
        return {path for path in paths if not path.startswith("segments/")}
