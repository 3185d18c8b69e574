"""An export in a bucket: its files named by their checksums, and a manifest that is written last.

So an export takes the place of an earlier one at once, and what both hold is sent, and fetched, once.
"""

from __future__ import annotations

from pathlib import Path

from indexer.domain.stored_file import NamedFile
from indexer.jobs.checked_files import FileFault, content_of
from indexer.jobs.exported_folder import MANIFEST, ExportedFile, ExportError, Manifest, SavedFile, no_manifest
from indexer.jobs.object_store import ObjectStore
from indexer.s3 import S3Location


class ExportedBucket:
    """At a location, of which nothing is ever deleted. Satisfies `ExportTarget`. ObjectStorageError.

    read_all: read what is there already for its checksum, and not only compare its size.
    """

    def __init__(self, location: S3Location, *, read_all: bool = False) -> None:
        self._location = location
        self._store = ObjectStore(location)
        self._read_all = read_all

    def save(self, source: Path, file: NamedFile) -> SavedFile:
        """See `ExportTarget.save`. What is there already, and whole as far as it was looked at, is not sent again."""
        content = content_of(source)
        if file.sha256 is not None and content.sha256 != file.sha256:
            raise FileFault("damaged")
        path, is_new = _object(content.sha256), False
        try:
            self._store.check_size(path, content.bytes)
            if self._read_all:
                self._store.check(path, content.sha256)
        except FileFault:
            self._store.send(source, path)
            is_new = True
        return SavedFile(ExportedFile(content.sha256, content.bytes), is_new)

    def finish(self, manifest: Manifest) -> None:
        """See `ExportTarget.finish`."""
        with self._store.writing(MANIFEST) as file:
            file.write(manifest.to_json().encode())

    def manifest(self) -> Manifest:
        """That of the export which was finished last. ExportError."""
        try:
            with self._store.reading(MANIFEST) as file:
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            raise no_manifest(self._location) from None
        return Manifest.from_json(text, str(self._location))

    def fetch(self, path: str, file: ExportedFile, target: Path) -> None:
        """Write a file of the export to this machine, durably. ExportError where it is missing or damaged."""
        try:
            self._store.fetch(_object(file.sha256), target, file.sha256)
        except FileFault as fault:
            name = f"{self._location}/{_object(file.sha256)} ({path})"
            raise ExportError(f"{name}: {fault}; export again with --check") from fault


def _object(sha256: str) -> str:
    return f"files/{sha256}"
