"""`touchstone condense`."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.options import Data, DatabaseUrl, at_most, fail, read_settings, sign

if TYPE_CHECKING:
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.domain.coreset import CoresetTarget
    from indexer.progress import Progress

_SHARE = 0.5  # of the references


def condense(
    categories: Annotated[
        list[str], typer.Argument(metavar="CATEGORY…", help="Categories to condense.", show_default=False)
    ],
    share: Annotated[
        float | None,
        typer.Option(
            help=f"Search this share of the patches in each place, above 0 and below 1 (default: {_SHARE:g}).",
            show_default=False,
        ),
    ] = None,
    bound: Annotated[
        float | None,
        typer.Option(help="Search as few patches as raise no score by more than this.", show_default=False),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Search all references of the categories again.")] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Search a few patches of each place instead of those of all references, with a bound on what that changes.

    For each layer and each cell, patches are chosen that no reference's patch is far from: the category's coreset. It
    is searched instead of the references, whatever K is, which takes less memory and less time. No score is lower than
    in a search of all references, and none is higher by more than the bound, which is printed. The category is
    calibrated anew. References stay on disk; those added later are searched beside the coreset, and a service makes
    another one when one of its references is removed. `touchstone rebuild` undoes it for all categories.

    Running services load it. Exit code: 0 done; 1 some categories were not condensed, one line each; 2 nothing done.

    \b
    Examples:
      touchstone condense bottle screw --share 0.25 --data my-factory
      touchstone condense bottle --bound 0.2 --data my-factory
      touchstone condense bottle --undo --data my-factory
    """
    from indexer.settings import DataSettings

    if sum((share is not None, bound is not None, undo)) > 1:
        fail("give one of --share, --bound and --undo")
    settings = read_settings(DataSettings, data=data, database_url=database_url)
    # torch takes seconds to import; --help should not.
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.catalogue.database_errors import DatabaseError
    from indexer.domain.coreset import CoresetTarget
    from indexer.domain.errors import CatalogueError, CorruptSegmentError, NotFound
    from indexer.progress import progress

    try:
        target = CoresetTarget(_SHARE if share is None and bound is None else share, bound)
    except ValueError as error:
        fail(error)
    sign()
    failed = False
    try:
        folder = DataFolder.existing(settings.data, settings.database_url)
        with closing(Catalogue.of(folder)) as catalogue, progress() as shown:
            for category in dict.fromkeys(categories):
                try:
                    line = _undo(catalogue, category) if undo else _condense(folder, catalogue, category, target, shown)
                except (NotFound, CorruptSegmentError, ValueError) as error:
                    failed = True
                    print(f"touchstone: {category}: {error}", file=sys.stderr)
                else:
                    print(line, flush=True)
    except (CatalogueError, DatabaseError, OSError) as error:
        fail(error)
    if failed:
        raise typer.Exit(1)


def _undo(catalogue: Catalogue, category: str) -> str:
    version = catalogue.coresets.drop(category)
    if version is None:
        return f"{category}: all references are searched already."
    return f"{category}: all references are searched from version {version} on."


def _condense(folder: DataFolder, catalogue: Catalogue, category: str, target: CoresetTarget, shown: Progress) -> str:
    """Condense one category; returns the line to print."""
    import torch

    from indexer.domain.errors import CoresetNotFound
    from indexer.jobs.condense import category_snapshot, condense, put_to_use
    from indexer.search import choose_engine
    from indexer.steps import run_to_end

    scoring = catalogue.categories.get(category).settings.scoring
    memory, memory_id = category_snapshot(folder, catalogue, category)
    record = catalogue.coresets.request(category, target)
    task = shown.task(f"condensing {category}", 100)
    steps = condense(record, memory, choose_engine(torch.device("cpu")), scoring)
    try:
        done = run_to_end(steps, lambda share: task.reach(int(100 * share), 100))
        result = put_to_use(folder, catalogue, memory_id, done)
    except CoresetNotFound:
        made = next((other.result for other in catalogue.coresets.of(category) if other.id == record.id), None)
        if made is None:
            raise
        result = made  # a running service was quicker
    except BaseException:
        catalogue.coresets.cancel(record.id)
        raise
    layers = ", ".join(
        f"{name} {at_most(radius)}" for name, radius in zip(memory.space.layers, result.radii, strict=True)
    )
    return (
        f"{category}: {result.patches} of {result.references} patches in each place are searched, "
        f"{result.file.size / 1e6:.3g} MB. No score rises by more than {at_most(max(result.radii))} ({layers})."
    )
