"""A data folder with the URL of its catalogue; refuses one that is not fully restored."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from indexer.catalogue.engine import parse_url
from indexer.domain.errors import BeingRestored, NoDataFolder
from indexer.storage.durable import sync_folder
from indexer.storage.lock import StoreLock

RESTORE_MARKER = "restoring"  # a file in a data folder that a restore has not finished


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

    @property
    def holds_files(self) -> bool:
        """Whether there are segments or images in it."""
        return any(path.is_file() for folder in ("segments", "originals") for path in (self.root / folder).rglob("*"))

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


def _make(root: Path) -> None:
    if root.is_symlink() and not root.exists():
        raise NotADirectoryError(f"{root} is a link to nothing: it cannot be a data folder")
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder")
    root.mkdir(parents=True, exist_ok=True)
