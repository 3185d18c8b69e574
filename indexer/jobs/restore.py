"""Restores a backup, as far as its files are whole."""

from __future__ import annotations

import uuid
from pathlib import Path

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.catalogue.dump import fill, new_database, revision_of
from indexer.catalogue.pairing import pair
from indexer.jobs.backup_archive import Archive
from indexer.jobs.backup_report import BackupReport, Progress
from indexer.jobs.checked_files import FileFault
from indexer.jobs.reread_encodings import reread_encodings
from indexer.s3 import S3Location


def restore(
    source: Path | S3Location, data: Path, database_url: str | None, progress: Progress, name: str | None = None
) -> BackupReport:
    """Put a backup, the newest or the one named, into an empty data folder and an empty database, of either kind.

    Every file is checked on its way; those that are damaged or missing are reported, and the rest is restored. Coresets
    whose files are not restored are asked for again. The catalogue is filled last, in one transaction: an interrupted
    restore can be run again and has restored nothing until then. A backup by an older version is migrated then. What is
    restored is an installation of its own: it gets a new catalogue id. BackupError, ObjectStorageError, CatalogueError
    and OSError when nothing is.
    """
    archive = Archive(source)
    chosen = archive.choose(name)
    saved, rows = archive.files_of(chosen), archive.rows_of(chosen)
    revision = revision_of(rows)
    damaged: list[str] = []
    lost: list[str] = []
    copied_bytes = 0
    with DataFolder.restored(data, database_url) as folder, new_database(folder.database) as engine:
        for index, file in enumerate(saved):
            progress(index, len(saved))
            try:
                copied_bytes += archive.store.fetch(archive.file(file.path), folder.root / file.path, file.sha256).bytes
            except FileFault as fault:
                damaged.append(f"{file.path}: {fault}")
                lost.append(file.path)
        progress(len(saved), len(saved))
        fill(engine, revision, rows)
    # The folder may be opened now: what is still to be migrated is what `touchstone migrate` would do, too.
    Catalogue.migrate(folder.database)
    catalogue = Catalogue.open(folder.database)
    try:
        reread_encodings(folder, catalogue)
        pair(folder, catalogue, uuid.uuid4().hex)
        catalogue.dump.note_restored(chosen, len(saved))
        with catalogue.dump.state() as state:
            coresets = [file.path for file in state.files() if file.path.startswith("coresets/")]
        not_restored = [path for path in coresets if not (folder.root / path).is_file()]  # nor saved, perhaps
        catalogue.coresets.request_again([path.removeprefix("coresets/") for path in not_restored])
        segments = [path.removeprefix("segments/") for path in lost if path.startswith("segments/")]
        unserved = catalogue.dump.count_in(segments)
    finally:
        catalogue.close()
    return BackupReport(
        chosen, len(saved), len(saved) - len(lost), copied_bytes, damaged=tuple(damaged), unserved=unserved
    )
