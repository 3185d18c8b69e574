"""An uploaded image on its way to becoming a reference."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from indexer.domain.encoding import Encoding
from indexer.domain.finding import Finding
from indexer.domain.photo_quality import PhotoQuality
from indexer.domain.reading import Reading
from indexer.domain.reference import NewReference


@dataclass(frozen=True)
class SourceImage:
    """An uploaded image: its bytes as they came, and what the decoder found. sha256: hex, of the bytes.

    appearance, findings: from screening, where it was screened. encoding, reading: how it was stored and read.
    inspection_id: the inspection that feedback makes it a reference from.
    """

    filename: str
    data: bytes
    sha256: str
    suffix: str
    width: int
    height: int
    appearance: PhotoQuality | None = None
    findings: tuple[Finding, ...] = ()
    encoding: Encoding | None = None
    reading: Reading = Reading()  # noqa: RUF009 - it is frozen
    inspection_id: str | None = None


def to_new_reference(original: SourceImage) -> NewReference:
    """What the catalogue records of it."""
    appearance = None if original.appearance is None else asdict(original.appearance)
    findings = tuple(asdict(finding) for finding in original.findings)
    return NewReference(
        original.sha256,
        original.suffix,
        original.filename,
        original.width,
        original.height,
        appearance,
        findings,
        len(original.data),
        encoding=None if original.encoding is None else original.encoding.to_json(),
        reading=original.reading.to_json(),
        inspection_id=original.inspection_id,
    )
