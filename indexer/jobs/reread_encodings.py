"""Notes anew how references are stored, where an earlier version missed part of it."""

from __future__ import annotations

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.encoding import Encoding
from indexer.imaging.encoding import read_jpeg_encoding
from indexer.storage.image_store import ImageStore


def reread_encodings(folder: DataFolder, catalogue: Catalogue) -> int:
    """Read the headers of JPEGs that were noted as grey ones; correct those that are not, and return how many.

    Colour JPEGs with another chroma subsampling than 4:4:4, 4:2:2 and 4:2:0 were noted so once: finer parts were then
    compared with them without their colour. Images that are missing or unreadable are passed over.
    """
    originals = ImageStore(folder.root / "originals", folder.lock)
    noted = catalogue.references.encodings()
    corrected: dict[str, str] = {}
    for sha256, suffix in catalogue.references.images_stored_as([text for text in noted if _is_grey_jpeg(text)]):
        encoding = read_jpeg_encoding(originals.path(sha256, suffix))
        if encoding is not None and encoding.subsampling is not None:
            corrected[sha256] = encoding.to_json()
    return catalogue.references.correct_encodings(corrected)


def _is_grey_jpeg(text: str) -> bool:
    encoding = Encoding.from_json(text)
    return encoding.format == "JPEG" and encoding.subsampling is None
