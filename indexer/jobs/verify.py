"""Verifies every file of a data folder or of a backup against its checksum."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.jobs.backup_archive import Archive
from indexer.jobs.backup_report import BackupReport, Progress
from indexer.jobs.checked_files import FileFault, check
from indexer.s3 import S3Location


def verify(folder: DataFolder, progress: Progress) -> BackupReport:
    """Read every file that the catalogue names and compare it with its checksum; hold the catalogue against itself.

    Which means: SQLite's own check of its file, every reference placed, and in a row that its segment has. Services
    may go on.
    """
    catalogue = Catalogue.of(folder)
    try:
        with folder.lock.shared():  # no file is deleted meanwhile
            with catalogue.dump.state() as state:
                named, damaged = state.files(), state.faults()
            files = ((file.path, partial(check, folder.root / file.path, file.sha256)) for file in named)
            damaged += _faults_of(files, len(named), progress)
    finally:
        catalogue.close()
    return BackupReport("", len(named), damaged=damaged)


def verify_backup(source: Path | S3Location, progress: Progress, name: str | None = None) -> BackupReport:
    """Read every file of a backup, the newest or the one named, and the rows of its catalogue. BackupError."""
    archive = Archive(source)
    chosen = archive.choose(name)
    for _ in archive.rows_of(chosen):
        pass
    saved = archive.files_of(chosen)
    files = ((file.path, partial(archive.store.check, archive.file(file.path), file.sha256)) for file in saved)
    return BackupReport(chosen, len(saved), damaged=_faults_of(files, len(saved), progress))


def _faults_of(files: Iterable[tuple[str, Callable[[], None]]], total: int, progress: Progress) -> tuple[str, ...]:
    """A line for each file that is missing, damaged or unreadable. files: how each is called, and its check."""
    damaged = []
    for index, (name, checked) in enumerate(files):
        progress(index, total)
        try:
            checked()
        except FileFault as fault:
            damaged.append(f"{name}: {fault}")
    progress(total, total)
    return tuple(damaged)
