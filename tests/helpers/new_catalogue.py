"""Makes new SQLite catalogues by copying one: to migrate each takes a tenth of a second of processor time."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from indexer.catalogue.catalogue import Catalogue


def new_catalogue(path: Path) -> str:
    """Write an empty catalogue of this version's schema; returns its SQLAlchemy url."""
    path.write_bytes(_empty())
    return _url(path)


def new_data_folder(data: Path) -> None:
    """Make a folder one that a service has data in, unless it has."""
    if not (catalogue := data / "catalogue.sqlite").exists():
        data.mkdir(parents=True, exist_ok=True)
        new_catalogue(catalogue)


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.sqlite"
        Catalogue.migrate(_url(path))
        assert not path.with_name(f"{path.name}-wal").exists(), "all of it is in the one file"
        return path.read_bytes()


def _url(path: Path) -> str:
    return f"sqlite:///{path}"
