"""`touchstone prune`: prune the history now, as a running service does by itself, or show what would be pruned."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, fail, read_settings


def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be pruned, and prune nothing.")] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Prune the history to the limits in the settings (docs/settings.md), online.

    To try other limits, set them in the environment and use --dry-run.

    Exit code: 0 done; 1 some files could not be deleted, one line each; 2 nothing was done.

    Example:  TOUCHSTONE_KEEP_IMAGES=2000 touchstone prune --dry-run --data my-factory
    """
    from service.settings import Settings

    settings = read_settings(Settings, data=data, database_url=database_url)
    # SQLAlchemy and what comes with it take seconds to import; --help should not.
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.domain.errors import CatalogueError
    from indexer.history.pruner import Pruner

    failed: list[str] = []
    try:
        folder = DataFolder.existing(settings.data, settings.database_url)
        catalogue = Catalogue.of(folder)
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
                    print(f"{pending.count} files are still to be deleted: a recording or a backup was running")
        finally:
            catalogue.close()
    except (CatalogueError, DatabaseError, OSError) as error:
        fail(error)
    for line in failed:
        print(line, file=sys.stderr)
    if failed:
        raise typer.Exit(1)
