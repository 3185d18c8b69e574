"""`touchstone export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, EncoderName, fail, read_settings


def export(
    categories: Annotated[list[str], typer.Argument(help="Categories to export.", metavar="CATEGORY")],
    to: Annotated[str, typer.Option(help="New folder, or s3://BUCKET/PREFIX; `touchstone serve --from` serves it.")],
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="In a bucket, also verify the checksums of files sent before; replace damaged ones."
        ),
    ] = False,
    data: Data = None,
    encoder: EncoderName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write categories into one folder that another machine serves, without a database.

    The folder holds references, calibrations, category settings, the encoder's settings (and a local encoder's files),
    API keys, and a checksum of every file. It holds no inspections. Services may run meanwhile.

    Into a bucket, with the extra `s3`: an export takes the place of an earlier one there, and only new files are sent.
    A file sent before is trusted if its size is unchanged; with --check, if its checksum is. Endpoint and credentials
    come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ~/.aws or the machine's role.

    \b
    touchstone export bracket bottle --to press-4
    touchstone serve --from press-4 --read-only          # on the other machine
    touchstone export bracket bottle --to s3://plant/press-4
    touchstone serve --from s3://plant/press-4 --copy /srv/press-4 --read-only
    """
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, encoder=encoder, database_url=database_url)
    # torch takes seconds to import; --help should not.
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.domain.errors import (
        CatalogueError,
        CategoryNotFound,
        EncoderError,
        FeatureSpaceMismatch,
        ObjectStorageError,
    )
    from indexer.encoders import load_encoder
    from indexer.jobs.encoder_of_memory import encoder_of_memory
    from indexer.jobs.export import export as run
    from indexer.jobs.exported_folder import ExportError
    from indexer.progress import progress
    from indexer.s3 import location_of

    try:
        target = location_of(to)
        if check and isinstance(target, Path):
            fail("--check is for a bucket: into a folder every file is written anew")
        folder = DataFolder.existing(settings.data, settings.database_url)
        loaded = load_encoder(encoder_of_memory(settings))
        with progress() as shown:
            report = shown.task("files").reach
            done = run(folder, categories, target, settings.encoder_settings, loaded.space, report, read_all=check)
    except (
        EncoderError,
        ExportError,
        FeatureSpaceMismatch,
        CategoryNotFound,
        CatalogueError,
        DatabaseError,
        ObjectStorageError,
        OSError,
    ) as error:
        fail(error)
    files = done.manifest.files
    size = sum(file.bytes for file in files.values())
    listed = ", ".join(f"{name} ({count} references)" for name, count in done.manifest.references.items())
    new = f"{done.new} of them new ({done.new_bytes / 1e6:.1f} MB)"
    print(f"{to}: {listed}; {len(files)} files, {size / 1e6:.1f} MB, {new}")
