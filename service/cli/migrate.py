"""`touchstone migrate`."""

from __future__ import annotations

from contextlib import closing

import typer

from indexer.cli.options import Data, DatabaseUrl, fail, read_settings


def migrate(data: Data = None, database_url: DatabaseUrl = None) -> None:
    """Create the catalogue's tables, or upgrade those of an older version.

    Back up first: older versions cannot read the upgraded database. Running it again changes nothing.
    An upgrade also corrects what an older version noted wrongly of stored images.
    """
    from indexer.settings import DataSettings

    settings = read_settings(DataSettings, data=data, database_url=database_url)
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.domain.errors import CatalogueError

    try:
        folder = DataFolder.created(settings.data, settings.database_url)
        if Catalogue.migrate(folder.database):
            from indexer.jobs.reread_encodings import reread_encodings

            with closing(Catalogue.open(folder.database)) as catalogue:
                corrected = reread_encodings(folder, catalogue)
            if corrected:
                typer.echo(f"Colour JPEGs that were noted as grey ones, corrected: {corrected}.")
    except (CatalogueError, DatabaseError, OSError, ValueError) as error:
        fail(error)
    typer.echo("The catalogue is up to date.")
