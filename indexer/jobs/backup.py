"""Backs up a data folder while services run, incrementally."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.jobs.backup_archive import Archive, SavedFile
from indexer.jobs.backup_report import BackupReport, Progress
from indexer.jobs.backup_store import BackupError
from indexer.jobs.checked_files import FileFault
from indexer.s3 import S3Location


def backup(
    folder: DataFolder, target: Path | S3Location, progress: Progress, *, read_all: bool = False
) -> BackupReport:
    """Copy what the catalogue holds now, and the files it names that the target lacks. Services may go on.

    A file that an earlier backup saved is trusted if it still has its size; read_all: if it has its checksum. One that
    does not is copied again. A damaged or missing file is reported, and all others are saved.
    BackupError, ObjectStorageError, CatalogueError and OSError when there is no backup.
    """
    archive = Archive(target)
    archive.store.create()
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    before, damaged = _saved_before(archive)
    catalogue = Catalogue.of(folder)
    try:
        with folder.lock.shared():  # no file is deleted meanwhile
            with catalogue.dump.state() as state:
                archive.write_rows(name, state.rows())
                named = state.files()
            saved: list[SavedFile] = []
            mended: list[str] = []
            copied = copied_bytes = 0
            for index, file in enumerate(named):
                progress(index, len(named))
                saved_before = before.get(file.path)
                fault = None if saved_before is None else _fault(archive, saved_before, read_all=read_all)
                if saved_before is not None and fault is None:
                    saved.append(saved_before)
                    continue
                try:
                    content = archive.store.save(folder.root / file.path, archive.file(file.path), file.sha256)
                except FileFault as lost:
                    also = f"; the copy of it in the backup: {fault}" if fault else ""
                    damaged.append(f"{file.path}: {lost}{also}")
                    continue
                saved.append(SavedFile(file.path, content.sha256, content.bytes))
                copied, copied_bytes = copied + 1, copied_bytes + content.bytes
                if fault is not None:
                    mended.append(f"{file.path}: the copy of it in the backup: {fault}; it was copied again")
            progress(len(named), len(named))
    finally:
        catalogue.close()
    archive.write_files(name, saved)  # last: a backup without it is not one
    return BackupReport(name, len(named), copied, copied_bytes, tuple(mended), tuple(damaged))


def _saved_before(archive: Archive) -> tuple[dict[str, SavedFile], list[str]]:
    """What the newest backup whose list can be read holds, by path; and a line for each newer one."""
    unreadable: list[str] = []
    for name in reversed(archive.names()):
        try:
            return {file.path: file for file in archive.files_of(name)}, unreadable
        except BackupError as error:
            unreadable.append(str(error))
    return {}, unreadable


def _fault(archive: Archive, saved: SavedFile, *, read_all: bool) -> str | None:
    path = archive.file(saved.path)
    try:
        if read_all:
            archive.store.check(path, saved.sha256)
        else:
            archive.store.check_size(path, saved.bytes)
    except FileFault as fault:
        return str(fault)
    return None
