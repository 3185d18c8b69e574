"""Prepares images of test sets for the encoder as images to be inspected are."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.domain.errors import OriginalUnreadable, OtherProportions
from indexer.domain.geometry import InputGeometry
from indexer.domain.labelled_set import LabelledImage
from indexer.encoders import PreparedImage
from indexer.imaging.decode import ImageRejected, RawImage, read_image
from indexer.imaging.reading import read_pixels, reading_for
from indexer.references.snapshot_loader import PublishedState
from service.inference.image_reading import reading_of_parts
from service.inference.resources import InferenceResources


class UnusableImage(ValueError):
    """An image of a test set that cannot be inspected; the message is one line that says why."""


@dataclass(frozen=True)
class LabelledImageReader:
    """Reads images of test sets, one at a time."""

    resources: InferenceResources

    def read(
        self, image: LabelledImage, published: PublishedState, geometry: InputGeometry | None = None
    ) -> tuple[RawImage, PreparedImage]:
        """The image as it is stored, and ready for the encoder. UnusableImage, also of one that is a reference.

        geometry: None for the category's.
        """
        if self.resources.reference_store.find_existing(image.category, [image.image_sha256]):
            raise UnusableImage("It is a reference: a test image must be none.")
        try:
            data = self.resources.reference_store.read_original(image.image_sha256, image.image_suffix)
            geometry = geometry or published.memory.geometry_of(image.category)
            geometries = (geometry, self.resources.preprocess.global_geometry)
            reading = reading_of_parts(published, image.category, None)
            stored = read_image(data, self.resources.limits, geometries, reading.stored_as)
            pixels = read_pixels(stored, reading_for(stored, reading), geometries)
            return stored, self.resources.preprocess(pixels, geometry, stored.size)
        except (OriginalUnreadable, ImageRejected, OtherProportions) as error:
            raise UnusableImage(str(error)) from error
