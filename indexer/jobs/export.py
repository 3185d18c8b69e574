"""Exports categories into one folder, or a bucket, that is served on another machine, without a database."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.catalogue.extract import extract
from indexer.domain.errors import FeatureSpaceMismatch
from indexer.domain.stored_file import NamedFile
from indexer.encoders import EncoderSettings, FeatureSpace
from indexer.jobs.checked_files import FileFault, copy
from indexer.jobs.exported_bucket import ExportedBucket
from indexer.jobs.exported_folder import (
    CATALOGUE,
    CONVERTED,
    ENCODER,
    MANIFEST,
    ORIGINALS,
    SEGMENTS,
    ExportedEncoder,
    ExportedFile,
    ExportError,
    Manifest,
    SavedFile,
)
from indexer.s3 import S3Location
from indexer.storage.durable import durable_write, sync_folder

Progress = Callable[[int, int], None]  # told how many of how many files are done


@dataclass(frozen=True)
class ExportReport:
    """A finished export. new: files that were not in the target before, of `new_bytes`."""

    manifest: Manifest
    new: int
    new_bytes: int


class ExportTarget(Protocol):
    """Where an export is written."""

    def save(self, source: Path, file: NamedFile) -> SavedFile:
        """Copy a file, verified. FileFault when the source is missing, unreadable or has another checksum."""
        ...

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest: what was saved is an export from now on."""
        ...


class _NewFolder:
    """A folder that nobody knows yet."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, source: Path, file: NamedFile) -> SavedFile:
        """See `ExportTarget.save`."""
        content = copy(source, self._root / file.path, file.sha256)
        return SavedFile(ExportedFile(content.sha256, content.bytes), is_new=True)

    def finish(self, manifest: Manifest) -> None:
        """See `ExportTarget.finish`."""
        with durable_write(self._root / MANIFEST) as file:
            file.write(manifest.to_json().encode())


def export(
    folder: DataFolder,
    categories: Collection[str],
    target: Path | S3Location,
    settings: EncoderSettings,
    space: FeatureSpace,
    progress: Progress,
    *,
    read_all: bool = False,
) -> ExportReport:
    """Write what serving these categories takes, whole or not at all; services may go on meanwhile.

    target: a new folder; or a location in a bucket, where it takes the place of an earlier export. settings: of the
    encoder whose space is given. read_all: in a bucket, a file of an earlier export is trusted if it has its checksum,
    and not already if it has its size. ExportError, ObjectStorageError, FeatureSpaceMismatch, CategoryNotFound and
    OSError.
    """
    if isinstance(target, S3Location):
        return _write(folder, categories, ExportedBucket(target, read_all=read_all), settings, space, progress)
    _check_new(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        made.mkdir(mode=0o700)  # it holds the hashes of keys
        (made / ORIGINALS).mkdir()
        (made / SEGMENTS).mkdir()
        report = _write(folder, categories, _NewFolder(made), settings, space, progress)
        _check_new(target)  # another export may have been quicker
        made.rename(target)
        sync_folder(target.parent)
    return report


def _check_new(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ExportError(f"{target} is not a folder: export into a new one")
    if target.is_dir() and any(target.iterdir()):
        raise ExportError(f"{target} is not empty: export into a new folder")


def _write(
    folder: DataFolder,
    categories: Collection[str],
    target: ExportTarget,
    settings: EncoderSettings,
    space: FeatureSpace,
    progress: Progress,
) -> ExportReport:
    with (
        _opened(folder) as catalogue,
        folder.lock.shared(),  # no file is deleted meanwhile
        tempfile.TemporaryDirectory(prefix="touchstone-") as temporary,
    ):
        memory = catalogue.memories.active()
        if memory is None or memory.fingerprint != space.fingerprint:
            made_by = "nothing" if memory is None else FeatureSpace.from_json(memory.space_json).encoder
            raise FeatureSpaceMismatch(
                f"the memory in {folder.root} was made by {made_by}, not by {space.encoder} with these settings: "
                "export with its own encoder"
            )
        extracted = Path(temporary) / CATALOGUE
        stored = extract(catalogue, extracted, categories)
        listed = catalogue.categories.list()
        counts = {category.name: category.references for category in listed if category.name in categories}
        model, of_encoder = _encoder(settings.model)
        named = [
            (extracted, NamedFile(CATALOGUE, None)),
            *((folder.root / file.path, file) for file in stored),
            *of_encoder,
            *_below(folder.root / CONVERTED, CONVERTED),
        ]
        saved: dict[str, SavedFile] = {}
        for index, (source, file) in enumerate(named):
            progress(index, len(named))
            try:
                saved[file.path] = target.save(source, file)
            except FileFault as fault:
                raise ExportError(f"{source}: {fault}; see `touchstone verify`") from fault
        manifest = Manifest(
            touchstone=version("touchstone"),
            schema=migrations.NEEDED,
            exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            encoder=ExportedEncoder(model, settings.layers, settings.dtype, settings.runtime),
            fingerprint=space.fingerprint,
            references=counts,
            files={path: saved_file.file for path, saved_file in saved.items()},
        )
        target.finish(manifest)
        progress(len(named), len(named))
    new = [saved_file.file.bytes for saved_file in saved.values() if saved_file.is_new]
    return ExportReport(manifest, len(new), sum(new))


@contextmanager
def _opened(folder: DataFolder) -> Iterator[Catalogue]:
    catalogue = Catalogue.of(folder)
    try:
        yield catalogue
    finally:
        catalogue.close()


def _encoder(model: str) -> tuple[str, list[tuple[Path, NamedFile]]]:
    """How the export names an encoder, and the files it brings along: those of one that lies on this machine."""
    path = Path(model).expanduser()
    name = f"{ENCODER}/{path.resolve().name}"
    if path.is_dir():
        return name, _below(path, name)
    return (name, [(path, NamedFile(name, None))]) if path.is_file() else (model, [])


def _below(root: Path, name: str) -> list[tuple[Path, NamedFile]]:
    """Every file below a folder: where it lies, and its path in the export; none where there is no folder."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [(path, NamedFile(f"{name}/{path.relative_to(root)}", None)) for path in files]
