"""`touchstone prune`: what a running service does by itself, now, or only told."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, fail, read_settings
from service.settings import Settings


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Bring the history within the limits that settings give (docs/settings.md), while services go on.

    With --dry-run and other limits in the environment it tells what these would take away. Exit code 0;
    1 when files could not be deleted, with a line for each; 2 when nothing could be done.
    """
    settings = read_settings(Settings, data=data, database_url=database_url)
    # SQLAlchemy and what comes with it take seconds to import; --help should not.
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.domain.errors import CatalogueError
    from indexer.history.pruner import Pruner

    failed: list[str] = []
    try:
        folder = DataFolder.existing(settings.data, settings.database_url)
        catalogue = Catalogue.open(folder.database)
        try:
            pruner = Pruner(folder, catalogue, settings.retention, settings.min_free_bytes)
            kinds = [holding.group for holding in catalogue.retention.usage()]
            for cut in pruner.plan(kinds):
                amount = catalogue.retention.size_of(cut)
                name = "no category" if cut.group.category is None else cut.group.category
                whose = "defects" if cut.group.defect else "others"
                print(f"{name}: {whose}: {amount.count} {cut.target}, {amount.bytes} bytes")
            if not dry_run:
                for steps in (pruner.prune_beyond_limits(kinds), pruner.free_disk_space(), pruner.delete_orphans()):
                    for step in steps:
                        failed += step.failed
                pending = catalogue.retention.pending()
                if pending.count:
                    print(f"{pending.count} files are still to be deleted: somebody was recording, or a backup runs")
        finally:
            catalogue.close()
    except (CatalogueError, OSError) as error:
        fail(str(error))
    for line in failed:
        print(line, file=sys.stderr)
    if failed:
        raise typer.Exit(1)
