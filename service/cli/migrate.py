"""`touchstone migrate`."""

from __future__ import annotations

from contextlib import closing

import typer

from indexer.cli.options import Data, DatabaseUrl, fail, read_settings


def migrate(data: Data = None, database_url: DatabaseUrl = None) -> None:
    """Create the catalogue's tables, or upgrade those of an older version.

    Back up first: older versions cannot read the upgraded database. Running it again changes nothing.
    What an older version noted wrongly of stored images is corrected, too, once all of them can be read.
    """
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, database_url=database_url)
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.domain.errors import CatalogueError

    try:
        folder = DataFolder.created(settings.data, settings.database_url)
        Catalogue.migrate(folder.database)
        from indexer.jobs.reread_encodings import reread_encodings

        with closing(Catalogue.open(folder.database)) as catalogue:
            report = reread_encodings(folder, catalogue)
    except (CatalogueError, DatabaseError, OSError, ValueError) as error:
        fail(error)
    if report.corrected:
        typer.echo(f"Colour JPEGs that were noted as grey ones, corrected: {report.corrected}.")
    if report.unreadable:
        typer.echo(
            f"Images that may be noted wrongly and cannot be read: {report.unreadable}. "
            "`touchstone verify` names them; once they are back, run this again."
        )
    typer.echo("The catalogue is up to date.")
