"""`touchstone backup`, `restore` and `verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, fail, read_settings, sign
from indexer.settings import DataSettings

if TYPE_CHECKING:
    from indexer.catalogue.data_folder import DataFolder
    from indexer.jobs.backup_report import BackupReport


def backup(
    target: Annotated[Path, typer.Argument(help="Folder of backups; made if it is new.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Read what earlier backups saved, too; copy anew what is damaged."),
    ] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Save references, history, settings, keys and audit trail, while services go on. Run again: only what is new.

    A file that was saved before is trusted if it still has its size; with --check, if it has its checksum. What is
    damaged is copied anew.

    Exit code 0; 1 when something is damaged, and the rest was saved; 2 when nothing was.
    """
    from indexer.jobs.backup import backup as run
    from indexer.progress import progress

    with _named(data, database_url) as settings, progress() as shown:
        done = run(_existing(settings), target, shown.task("files").reach, read_all=check)
    new = f"{done.copied} of them new ({done.copied_bytes} bytes)"
    mended = f", {len(done.mended)} copied anew" if done.mended else ""
    _tell(f"backup {done.name}: {done.files} files, {new}{mended}{_lost(done)}", done)


def restore(
    source: Annotated[Path, typer.Argument(help="Folder of backups.")],
    name: Annotated[str | None, typer.Option(help="Which backup [the newest].")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Put a backup into a new data folder and an empty database, SQLite or PostgreSQL, checking every file.

    Exit code 0; 1 when some files are damaged or missing, and the rest was restored; 2 when nothing was.
    """
    from indexer.jobs.restore import restore as run
    from indexer.progress import progress

    with _named(data, database_url) as settings, progress() as shown:
        done = run(source, settings.data, settings.database_url, shown.task("files").reach, name)
    _tell(f"restored backup {done.name}: {done.files} files{_lost(done)}", done)


def verify(
    saved: Annotated[
        Path | None, typer.Option("--backup", help="Check a backup in this folder, not the data folder.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Which backup [the newest].")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Check every segment, image and map against the catalogue, while services go on; or every file of a backup.

    Exit code 0; 1 with a line for each thing that is damaged; 2 when it cannot be checked.
    """
    from indexer.jobs.verify import verify as run
    from indexer.jobs.verify import verify_backup
    from indexer.progress import progress

    if name is not None and saved is None:
        fail("--name is of a backup: give --backup FOLDER, too")
    with _named(data, database_url) as settings, progress() as shown:
        report = shown.task("files").reach
        done = run(_existing(settings), report) if saved is None else verify_backup(saved, report, name)
    which = f"backup {done.name}: " if saved is not None else ""
    _tell(f"{which}{done.files} files checked, {len(done.damaged)} problems", done)


def _existing(settings: DataSettings) -> DataFolder:
    from indexer.catalogue.data_folder import DataFolder

    return DataFolder.existing(settings.data, settings.database_url)


@contextmanager
def _named(data: Path | None, database_url: str | None) -> Iterator[DataSettings]:
    settings = read_settings(DataSettings, data=data, database_url=database_url)
    from indexer.catalogue.engine import DatabaseError
    from indexer.domain.errors import CatalogueError
    from indexer.jobs.backup_archive import BackupError

    sign()
    try:
        yield settings
    except (BackupError, CatalogueError, DatabaseError, OSError) as error:
        fail(str(error))


def _lost(done: BackupReport) -> str:
    return f", {len(done.damaged)} problems" if done.damaged else ""


def _tell(summary: str, done: BackupReport) -> None:
    for line in (*done.mended, *done.damaged):
        print(line, file=sys.stderr)
    print(summary)
    if done.unserved:
        print(
            f"{done.unserved} references cannot be compared with until they are encoded again: "
            "run `touchstone rebuild --damaged`"
        )
    if done.damaged:
        raise typer.Exit(1)
