"""`touchstone backup`, `restore` and `verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, at_most, fail, read_settings, sign

if TYPE_CHECKING:
    from indexer.catalogue.data_folder import DataFolder
    from indexer.jobs.backup_report import BackupReport
    from indexer.settings import DataSettings


def backup(
    target: Annotated[
        str, typer.Argument(help="Folder of backups, created if it does not exist; or s3://BUCKET/PREFIX.")
    ],
    check: Annotated[
        bool,
        typer.Option("--check", help="Also verify the checksums of files saved before; copy damaged ones again."),
    ] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Back up references, history, settings, keys and audit trail, online and incrementally.

    Only new files are copied. A file saved before is trusted if its size is unchanged; with --check, if its checksum
    is. Damaged copies are copied again.

    Exit code: 0 all saved; 1 some files are damaged, all others were saved; 2 nothing was saved.

    Into a bucket, with the extra `s3`: endpoint and credentials come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, ~/.aws or the machine's role.

    \b
    Examples:
      touchstone backup /mnt/backup --data my-factory
      touchstone backup s3://plant-backups/line-4 --data my-factory
    """
    from indexer.jobs.backup import backup as run
    from indexer.progress import progress
    from indexer.s3 import location_of

    with _named(data, database_url) as settings, progress() as shown:
        done = run(_existing(settings), location_of(target), shown.task("files").reach, read_all=check)
    new = f"{done.copied} of them new ({done.copied_bytes} bytes)"
    mended = f", {len(done.mended)} copied again" if done.mended else ""
    _print_report(f"backup {done.name}: {done.files} files, {new}{mended}{_lost(done)}", done)


def restore(
    source: Annotated[str, typer.Argument(help="Folder of backups, or s3://BUCKET/PREFIX.")],
    name: Annotated[str | None, typer.Option(help="Name of the backup (default: the newest).")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Restore a backup into a new data folder and an empty database, SQLite or PostgreSQL, verifying every file.

    Exit code: 0 all restored; 1 some files are damaged or missing, all others were restored; 2 nothing was restored.

    Example:  touchstone restore /mnt/backup --data my-factory
    """
    from indexer.jobs.restore import restore as run
    from indexer.progress import progress
    from indexer.s3 import location_of

    with _named(data, database_url) as settings, progress() as shown:
        done = run(location_of(source), settings.data, settings.database_url, shown.task("files").reach, name)
    _print_report(f"restored backup {done.name}: {done.files} files{_lost(done)}", done)


def verify(
    saved: Annotated[
        str | None,
        typer.Option(
            "--backup", help="Verify a backup in this folder, or at s3://BUCKET/PREFIX, instead of the data folder."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the backup (default: the newest).")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Verify every segment, image and map against the catalogue, online; or every file of a backup.

    Of a data folder, also print for each category how far the codec moves its scores at most: the largest error of its
    stored patches; and how far its coreset does, where it has one.

    Exit code: 0 no problems; 1 problems, one line each; 2 verification is not possible.

    Example:  touchstone verify --backup /mnt/backup
    """
    from indexer.jobs.code_errors import code_errors
    from indexer.jobs.coreset_bounds import coreset_bounds
    from indexer.jobs.verify import verify as run
    from indexer.jobs.verify import verify_backup
    from indexer.progress import progress
    from indexer.s3 import location_of

    if name is not None and saved is None:
        fail("--name needs --backup FOLDER")
    with _named(data, database_url) as settings, progress() as shown:
        report = shown.task("files").reach
        done = run(_existing(settings), report) if saved is None else verify_backup(location_of(saved), report, name)
        errors = code_errors(_existing(settings), shown.task("codes").reach) if saved is None else None
        bounds = coreset_bounds(_existing(settings), shown.task("coresets").reach) if saved is None else ()
    which = f"backup {done.name}: " if saved is not None else ""
    if errors is not None:
        for of in errors.categories:
            by_layer = ", ".join(f"{layer} {at_most(error)}" for layer, error in of.by_layer.items())
            print(f"{of.category}: {errors.codec} codes move no score by more than {at_most(of.largest)} ({by_layer})")
    for bound in bounds:
        if bound.by_layer is None:
            print(f"{bound.category}: its coreset is not searched: references that it stands for are gone")
            continue
        by_layer = ", ".join(f"{layer} {at_most(radius)}" for layer, radius in bound.by_layer.items())
        largest = at_most(max(bound.by_layer.values()))
        print(f"{bound.category}: {bound.described} raise no score by more than {largest} ({by_layer})")
    _print_report(f"{which}{done.files} files checked, {len(done.damaged)} problems", done)


def _existing(settings: DataSettings) -> DataFolder:
    from indexer.catalogue.data_folder import DataFolder

    return DataFolder.existing(settings.data, settings.database_url)


@contextmanager
def _named(data: Path | None, database_url: str | None) -> Iterator[DataSettings]:
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, database_url=database_url)
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.domain.errors import CatalogueError, ObjectStorageError
    from indexer.jobs.backup_store import BackupError

    sign()
    try:
        yield settings
    except (BackupError, ObjectStorageError, CatalogueError, DatabaseError, OSError) as error:
        fail(error)


def _lost(done: BackupReport) -> str:
    return f", {len(done.damaged)} problems" if done.damaged else ""


def _print_report(summary: str, done: BackupReport) -> None:
    for line in (*done.mended, *done.damaged):
        print(line, file=sys.stderr)
    print(summary)
    if done.unserved:
        print(
            f"{done.unserved} references are excluded from comparison until they are re-encoded: "
            "run `touchstone rebuild --damaged`"
        )
    if done.damaged:
        raise typer.Exit(1)
