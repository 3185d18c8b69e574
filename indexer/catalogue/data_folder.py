"""A data folder with the URL of its catalogue; refuses one that is not fully restored."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from indexer.catalogue.engine import parse_url
from indexer.domain.errors import BeingRestored, NoDataFolder
from indexer.storage.durable import sync_folder, translate_full_disk
from indexer.storage.lock import StoreLock

RESTORE_MARKER = "restoring"  # a file in a data folder that a restore has not finished
CATALOGUE_ID = "catalogue.id"  # a file in a data folder that says which catalogue it belongs to


@dataclass(frozen=True)
class DataFolder:
    """A data folder that is whole. Whatever opens one does so here.

    root: the folder. database: URL of its catalogue, which is SQLite inside the folder unless another one was named.
    """

    root: Path
    database: URL

    @classmethod
    def existing(cls, root: Path, database_url: str | None = None) -> DataFolder:
        """The folder of that name; creates nothing. Raises NoDataFolder, BeingRestored and UnsupportedDatabase."""
        folder = cls._named(root, database_url)
        if not root.is_dir():
            raise NoDataFolder(f"there is no data folder {root}; `touchstone migrate` creates one")
        folder._check_whole()
        file = folder.database.database
        if folder.database.get_backend_name() == "sqlite" and file is not None and not Path(file).is_file():
            raise NoDataFolder(
                f"{root} is not a data folder: it has no catalogue {file}; `touchstone migrate` creates one"
            )
        return folder

    @classmethod
    def created(cls, root: Path, database_url: str | None = None) -> DataFolder:
        """The folder of that name, created if there is none. Raises BeingRestored, UnsupportedDatabase and OSError."""
        folder = cls._named(root, database_url)
        _make(root)
        folder._check_whole()
        return folder

    @classmethod
    @contextmanager
    def restored(cls, root: Path, database_url: str | None = None) -> Iterator[DataFolder]:
        """A new folder, or one whose restore was cut off, which nothing else opens until the block has ended well.

        Raises FileExistsError when there is anything else in the folder, and BeingRestored when another process
        restores into it.
        """
        folder, mark = cls._named(root, database_url), root / RESTORE_MARKER
        not_empty = FileExistsError(f"{root} is not empty: restore into a new folder")
        another = BeingRestored(f"another process restores into {root}")
        _make(root)
        try:
            marked = mark.open("r+" if any(root.iterdir()) else "x")
        except FileNotFoundError:
            raise not_empty from None
        except FileExistsError:
            raise another from None
        with marked:
            try:
                fcntl.flock(marked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise another from None
            if not mark.exists():  # the other process has finished just now
                raise not_empty
            sync_folder(root)
            yield folder
            mark.unlink()
            sync_folder(root)

    def files(self, *folders: str) -> Iterator[str]:
        """The files in some of its folders and those below them, as paths in the data folder."""
        for folder in folders:
            for path in (self.root / folder).rglob("*"):
                if path.is_file():
                    yield str(path.relative_to(self.root))

    def catalogue_id(self) -> str | None:
        """The id of the catalogue that it belongs to; None before it was opened with one."""
        try:
            return _id_in((self.root / CATALOGUE_ID).read_text(encoding="ascii", errors="replace"))
        except FileNotFoundError:
            return None

    def claim(self, catalogue_id: str) -> str:
        """Make it that catalogue's, durably, unless it is another's; returns whose it is. StorageFull.

        Written in place, under a lock: of two catalogues that claim one folder at once only one gets it.
        """
        with translate_full_disk(), (self.root / CATALOGUE_ID).open("a+", encoding="ascii", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            owner = _id_in(file.read())
            if owner is None:
                owner = catalogue_id
                file.truncate(0)
                file.write(owner)
                file.flush()
                os.fsync(file.fileno())
                sync_folder(self.root)
        return owner

    @property
    def lock(self) -> StoreLock:
        """Keeps its files from being deleted before the catalogue names them."""
        return StoreLock(self.root / "append.lock")

    @classmethod
    def _named(cls, root: Path, database_url: str | None) -> DataFolder:
        # Made of its parts: as text, a `%`, `?` or `#` in the folder's name would mean something else.
        inside = URL.create("sqlite", database=str(root / "catalogue.sqlite"))
        return cls(root, parse_url(database_url) if database_url else inside)

    def _check_whole(self) -> None:
        if (self.root / RESTORE_MARKER).exists():
            raise BeingRestored(f"{self.root} is not completely restored: complete `touchstone restore` first")


def _id_in(text: str) -> str | None:
    """The id in a file of which a crash may have left less than that."""
    return text.strip() if re.fullmatch(r"[0-9a-f]{32}\s*", text) else None


def _make(root: Path) -> None:
    if root.is_symlink() and not root.exists():
        raise NotADirectoryError(f"{root} is a link to nothing: it cannot be a data folder")
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder")
    root.mkdir(parents=True, exist_ok=True)
