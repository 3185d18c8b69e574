"""Keeps a data folder and its catalogue together: another catalogue would have the files deleted as orphans."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from indexer.catalogue.queries import batches
from indexer.domain.errors import CatalogueMismatch

if TYPE_CHECKING:
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder

# Segments, coresets, maps and thumbnails have random names. Images are named by their content, which two catalogues may
# both know: they prove something only where there is nothing else.
_RANDOM_NAMES = ("segments", "coresets", "inspections")
_NAMED_BY_CONTENT = ("originals",)


def check_pair(folder: DataFolder, catalogue: Catalogue) -> None:
    """Raise CatalogueMismatch unless a catalogue is that of a data folder.

    It is if both have the same id. Where one has none, they become a pair if the catalogue names a file of the folder:
    both are of an earlier version, or one was restored to a time before it had its id. A folder with no id and no file
    becomes the pair of a catalogue that names no file. Files are written only by those who have checked: a crash at any
    moment leaves what can be checked again.
    """
    if _paired(folder, catalogue):
        return
    of_folder = folder.catalogue_id()
    if of_folder is None or catalogue.identity.find() is None:
        both_empty = of_folder is None and not _holds_files(folder) and not catalogue.stored_files.any_named()
        if (both_empty or _names_a_file(catalogue, folder)) and pair(folder, catalogue, of_folder or uuid.uuid4().hex):
            return
    if not _paired(folder, catalogue):  # another process may have paired them meanwhile, and added files
        raise CatalogueMismatch(_reason(folder, catalogue))


def pair(folder: DataFolder, catalogue: Catalogue, proposed: str) -> bool:
    """Give a catalogue and a data folder the same id, a proposed one where they have none; whether they have."""
    catalogue_id = catalogue.identity.ensure(proposed)
    return folder.claim(catalogue_id) == catalogue_id


def _paired(folder: DataFolder, catalogue: Catalogue) -> bool:
    of_folder = folder.catalogue_id()
    return of_folder is not None and of_folder == catalogue.identity.find()


def _holds_files(folder: DataFolder) -> bool:
    return any(True for _ in folder.files(*_RANDOM_NAMES, *_NAMED_BY_CONTENT))


def _names_a_file(catalogue: Catalogue, folder: DataFolder) -> bool:
    for folders in (_RANDOM_NAMES, _NAMED_BY_CONTENT):
        holds_files = False
        for paths in batches(folder.files(*folders)):
            holds_files = True
            if catalogue.stored_files.named(paths):
                return True
        if holds_files:
            return False
    return False


def _reason(folder: DataFolder, catalogue: Catalogue) -> str:
    database = folder.database.render_as_string()
    if not _holds_files(folder) and catalogue.stored_files.any_named():
        return (
            f"{folder.root} is empty, and {database} is the catalogue of another data folder: name that folder, see "
            "that it is mounted, or restore a backup"
        )
    if catalogue.memories.active() is None:
        return (
            f"{folder.root} belongs to another catalogue than {database}, which is empty: name the database that it "
            "belongs to, or restore a backup"
        )
    return (
        f"{folder.root} belongs to another catalogue than {database}: name the database that it belongs to, or another "
        "data folder"
    )
