"""A copy on this machine of an export in a bucket, renewed whenever it is served.

Files lie in it by their checksum, as in the bucket: each is written whole or not at all, then the manifest is replaced,
then files that it does not name are deleted. So a copy is complete at any moment once it has been.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer.domain.errors import ObjectStorageError
from indexer.jobs.checked_files import FileFault, check, check_size
from indexer.jobs.exported_bucket import ExportedBucket
from indexer.jobs.exported_folder import MANIFEST, ORIGINALS, SEGMENTS, ExportedFile, ExportError, Manifest
from indexer.s3 import S3Location
from indexer.storage.durable import durable_write
from indexer.storage.lock import StoreLock

_FILES, _SOURCE, _LOCK = "files", "source", "lock"

log = logging.getLogger("touchstone")


@contextmanager
def copied_export(location: S3Location, root: Path, progress: Callable[[int, int], None]) -> Iterator[Path]:
    """A verified folder with the export at a location, as long as the block runs.

    If the newest export cannot be fetched whole, for whatever reason, it is the one that was fetched last. root: of the
    copy, created if it does not exist; one process uses it at a time. progress: told how many of how many files are
    there. ExportError, ObjectStorageError or OSError when there is no complete copy.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds the hashes of keys
    _check_source(root, location)
    with StoreLock(root / _LOCK).exclusive() as held:
        if not held:
            raise ExportError(f"another process serves the copy in {root}: give this one a folder of its own")
        try:
            manifest = _renewed(root, location, progress)
        except (ObjectStorageError, ExportError, OSError) as error:
            manifest = _present(root, error)
            log.error("%s; the copy in %s is served, exported at %s", error, root, manifest.exported_at)
        with _shown(root, manifest) as folder:
            yield folder


def _check_source(root: Path, location: S3Location) -> None:
    """ExportError where the folder holds anything but a copy of this export, or the beginning of one."""
    if (source := root / _SOURCE).is_file():
        if (known := source.read_text(encoding="utf-8")) != str(location):
            raise ExportError(f"{root} holds a copy of {known}: give {location} a folder of its own")
    elif {path.name for path in root.iterdir()} - {_LOCK}:
        raise ExportError(f"{root} is not empty, and holds no copy of an export: give a new folder")


def _renewed(root: Path, location: S3Location, progress: Callable[[int, int], None]) -> Manifest:
    """Bring the copy up to date with the bucket; files that it lacks, or that are damaged, are fetched."""
    bucket = ExportedBucket(location)
    manifest = bucket.manifest()
    with durable_write(root / _SOURCE) as source:
        source.write(str(location).encode())
    for index, (path, file) in enumerate(manifest.files.items()):
        progress(index, len(manifest.files))
        try:
            _check(root, path, file)
        except FileFault:
            bucket.fetch(path, file, _place(root, file))
    with durable_write(root / MANIFEST) as written:
        written.write(manifest.to_json().encode())
    progress(len(manifest.files), len(manifest.files))
    named = {file.sha256 for file in manifest.files.values()}
    for left in (root / _FILES).iterdir():
        if left.name not in named:
            left.unlink()
    return manifest


def _present(root: Path, why: Exception) -> Manifest:
    """The manifest of a complete copy. Raises `why` where nothing was ever fetched; ExportError, with it, otherwise."""
    if not (root / MANIFEST).exists():
        raise why
    manifest = Manifest.read(root)
    for path, file in manifest.files.items():
        try:
            _check(root, path, file)
        except FileFault as fault:
            raise ExportError(f"{why}; and in the copy, {_place(root, file)} ({path}): {fault}") from fault
    return manifest


def _check(root: Path, path: str, file: ExportedFile) -> None:
    """As `exported_folder.verify`: images are verified when they are read."""
    if path.startswith(f"{ORIGINALS}/"):
        check_size(_place(root, file), file.bytes)
    else:
        check(_place(root, file), file.sha256)


def _place(root: Path, file: ExportedFile) -> Path:
    return root / _FILES / file.sha256


@contextmanager
def _shown(root: Path, manifest: Manifest) -> Iterator[Path]:
    """A temporary folder in which files have their names: links."""
    with tempfile.TemporaryDirectory(prefix="touchstone-") as temporary:
        folder = Path(temporary)
        for name in (SEGMENTS, ORIGINALS):
            (folder / name).mkdir()
        (folder / MANIFEST).symlink_to((root / MANIFEST).resolve())
        for path, file in manifest.files.items():
            link = folder / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(_place(root, file).resolve())
        yield folder
