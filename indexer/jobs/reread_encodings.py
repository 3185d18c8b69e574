"""Notes anew how references are stored, where an earlier version missed part of it."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.encoding import Encoding
from indexer.imaging.encoding import read_jpeg_encoding
from indexer.storage.image_store import ImageStore

_NAME = "jpeg-subsampling"  # among the catalogue's corrections


@dataclass(frozen=True)
class RereadReport:
    """corrected: references noted anew. unreadable: images that are missing or damaged: what is noted of them stays."""

    corrected: int
    unreadable: int


def reread_encodings(folder: DataFolder, catalogue: Catalogue) -> RereadReport:
    """Read the headers of JPEGs that were noted as grey ones, and correct those that are not.

    Colour JPEGs with another chroma subsampling than 4:4:4, 4:2:2 and 4:2:0 were noted so once: finer parts were then
    compared with them without their colour. Done once for each catalogue, and again until every image could be read;
    one without such a JPEG is left as it is.
    """
    if catalogue.corrections.complete(_NAME):
        return RereadReport(0, 0)
    originals = ImageStore(folder.root / "originals", folder.lock)
    grey = [text for text in catalogue.references.encodings() if _is_grey_jpeg(text)]
    if not grey:
        return RereadReport(0, 0)
    corrected: dict[str, str] = {}
    unreadable = 0
    for sha256, suffix in catalogue.references.images_stored_as(grey):
        encoding = read_jpeg_encoding(originals.path(sha256, suffix))
        if encoding is None:
            unreadable += 1
        elif encoding.subsampling is not None:
            corrected[sha256] = encoding.to_json()
    report = RereadReport(catalogue.references.correct_encodings(corrected), unreadable)
    if not unreadable:
        catalogue.corrections.note_complete(_NAME)
    return report


def _is_grey_jpeg(text: str) -> bool:
    encoding = Encoding.from_json(text)
    return encoding.format == "JPEG" and encoding.subsampling is None
