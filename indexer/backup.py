"""A data folder and its catalogue copied to another folder while they are in use, checked, and put back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, DateTime, LargeBinary, MetaData, Table, func, insert, select, text

from indexer.catalogue import schema
from indexer.catalogue.database import Transactions, alone, connect
from indexer.catalogue.models import Base, InspectionRow, ReferenceRow, SegmentRow
from indexer.catalogue.retention import thumbnail_name
from indexer.library import RESTORING
from indexer.store import StoreLock, original_name

Progress = Callable[[int, int], None]  # files done, files in all

_PIECE = 4 << 20
_ROWS = 500


class BackupError(Exception):
    """What cannot be backed up, verified or restored; the message is one line for a person."""


@dataclass(frozen=True)
class Kept:
    """A file that the catalogue names. path: within the data folder; sha256: None if not known."""

    path: str
    sha256: str | None


@dataclass(frozen=True)
class Done:
    """What was done. files: in all; copied: those that were new; damaged: a line for each fault."""

    name: str
    files: int
    copied: int
    damaged: tuple[str, ...]


def backup(data: Path, url: str, target: Path, progress: Progress) -> Done:
    """Copy what the catalogue holds now, and the files it names that the target lacks. Services may go on.

    A damaged or missing file is reported, and does not keep the rest from being saved.
    """
    files, catalogues = target / "files", target / "catalogues"
    for folder in (files, catalogues):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    known = _known(catalogues)
    engine = connect(url)
    try:
        schema.check(engine)
        # No sweep takes a file away that this state of the catalogue names.
        with StoreLock(data / "append.lock").appending(), Transactions(engine).reading() as connection:
            _write_lines(catalogues / f"{name}.rows.gz", _rows(connection))
            wanted = list(named_files(connection))
            manifest, damaged, copied = [], [], 0
            for number, each in enumerate(wanted):
                progress(number, len(wanted))
                source, saved = data / each.path, files / each.path
                digest = known.get(each.path)
                if digest is None or not saved.is_file():
                    digest = _copied(source, saved)
                    copied += digest is not None
                if digest is None or (each.sha256 is not None and digest != each.sha256):
                    damaged.append(f"{each.path}: {'missing' if digest is None else 'not what the catalogue says'}")
                    saved.unlink(missing_ok=True)
                    continue
                manifest.append({"path": each.path, "sha256": digest})
            progress(len(wanted), len(wanted))
    finally:
        engine.dispose()
    _write_lines(catalogues / f"{name}.files.gz", manifest)  # last: a backup without it is not one
    return Done(name, len(wanted), copied, tuple(damaged))


def verify(data: Path, url: str, progress: Progress) -> Done:
    """Read every file that the catalogue names and compare it with its checksum; look for references without codes."""
    engine = connect(url)
    try:
        schema.check(engine)
        with StoreLock(data / "append.lock").appending(), Transactions(engine).reading() as connection:
            wanted = list(named_files(connection))
            damaged = [f"reference {number}: not in the memory being served" for number in _unplaced(connection)]
            for number, each in enumerate(wanted):
                progress(number, len(wanted))
                digest = _digest(data / each.path)
                if digest is None or (each.sha256 is not None and digest != each.sha256):
                    damaged.append(f"{each.path}: {'missing' if digest is None else 'not what the catalogue says'}")
            progress(len(wanted), len(wanted))
    finally:
        engine.dispose()
    return Done("", len(wanted), 0, tuple(damaged))


def restore(source: Path, data: Path, url: str, progress: Progress, name: str | None = None) -> Done:
    """Put a backup, the newest or the one named, into an empty data folder and an empty database, of either kind.

    Every file is checked on its way. The catalogue is filled last, in one transaction: an interrupted restore can be
    run again and has restored nothing until then. Raises BackupError.
    """
    names = sorted(path.name.removesuffix(".files.gz") for path in (source / "catalogues").glob("*.files.gz"))
    if not names:
        raise BackupError(f"there is no backup in {source}")
    chosen = names[-1] if name is None else name
    if chosen not in names:
        raise BackupError(f"there is no backup {chosen!r}; there are {', '.join(names[-5:])}")
    mark = data / RESTORING
    if data.is_dir() and any(data.iterdir()) and not mark.exists():
        raise BackupError(f"{data} is not empty: restore into a new folder")
    data.mkdir(parents=True, exist_ok=True)
    mark.touch()
    engine = connect(url)
    try:
        if not schema.is_empty(engine) and not _is_unused(engine.url.render_as_string(hide_password=False)):
            raise BackupError("the database is not empty: restore into a new one")
        manifest = list(_read_lines(source / "catalogues" / f"{chosen}.files.gz"))
        for number, each in enumerate(manifest):
            progress(number, len(manifest))
            if _copied(source / "files" / each["path"], data / each["path"]) != each["sha256"]:
                raise BackupError(f"the backup is damaged: {each['path']}; nothing was restored")
        progress(len(manifest), len(manifest))
        with alone(engine):
            schema.upgrade(engine)
        _fill(engine, _read_lines(source / "catalogues" / f"{chosen}.rows.gz"))
    finally:
        engine.dispose()
    mark.unlink()
    return Done(chosen, len(manifest), len(manifest), ())


def named_files(connection: Connection) -> Iterator[Kept]:
    """Every file that the catalogue needs: segments, pictures of references and inspections, maps, thumbnails."""
    used = select(SegmentRow.name, SegmentRow.sha256).where(SegmentRow.retired_at.is_(None))
    for row in connection.execute(used.order_by(SegmentRow.id)):
        yield Kept(f"segments/{row.name}", row.sha256)
    pictures: set[tuple[str, str]] = set()
    live = select(ReferenceRow.image_sha256, ReferenceRow.image_suffix).where(ReferenceRow.removed_at.is_(None))
    pictures.update((row[0], row[1]) for row in connection.execute(live))
    inspected = select(InspectionRow.image_sha256, InspectionRow.image_suffix, InspectionRow.kept_bytes,
                       InspectionRow.map_name, InspectionRow.thumbnail_bytes, InspectionRow.id)  # fmt: skip
    shown: list[str] = []
    for sha256, suffix, kept_bytes, map_name, thumbnail_bytes, key in connection.execute(inspected):
        if kept_bytes is not None and sha256 is not None and suffix is not None:
            pictures.add((sha256, suffix))
        if map_name is not None:
            shown.append(map_name)
        if thumbnail_bytes is not None:
            shown.append(thumbnail_name(key))
    for sha256, suffix in sorted(pictures):
        yield Kept(f"originals/{original_name(sha256, suffix)}", sha256)
    for name in sorted(shown):
        yield Kept(f"inspections/{name}", None)


def _unplaced(connection: Connection) -> list[int]:
    statement = text(
        "SELECT id FROM reference WHERE removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM placement "
        "JOIN memory ON memory.id = placement.memory_id AND memory.active WHERE placement.reference_id = reference.id)"
    )
    return list(connection.scalars(statement))


def _rows(connection: Connection) -> Iterator[dict[str, Any]]:
    for table in Base.metadata.sorted_tables:
        for row in connection.execute(select(table)):
            yield {"table": table.name, "row": {key: _plain(value) for key, value in row._mapping.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else value


def _value(table: Table, key: str, value: Any) -> Any:
    kind = table.columns[key].type
    if value is None:
        return None
    # SQLAlchemy's own decorator for times wraps a DateTime, which `impl` shows.
    if isinstance(getattr(kind, "impl", kind), DateTime):
        return datetime.fromisoformat(value)
    return bytes.fromhex(value) if isinstance(kind, LargeBinary) else value


def _fill(engine: Any, lines: Iterable[dict[str, Any]]) -> None:
    tables = Base.metadata.tables
    with Transactions(engine).writing() as connection:
        batch: list[dict[str, Any]] = []
        current = ""
        for line in lines:
            if line["table"] != current or len(batch) >= _ROWS:
                _insert(connection, current, batch)
                current, batch = line["table"], []
            table = tables[current]
            batch.append({key: _value(table, key, value) for key, value in line["row"].items()})
        _insert(connection, current, batch)
        if engine.dialect.name == "postgresql":
            _continue_numbers(connection)


def _insert(connection: Connection, name: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(Base.metadata.tables[name]), rows)


def _continue_numbers(connection: Connection) -> None:
    """Ids were given: PostgreSQL's sequences have to go on after them."""
    for table in Base.metadata.sorted_tables:
        sequence = connection.scalar(
            text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": f'"{table.name}"'}
        ) if "id" in table.columns else None  # fmt: skip
        if sequence is not None:
            newest = connection.scalar(select(func.max(table.columns["id"])))
            if newest is not None:
                connection.execute(select(func.setval(sequence, newest)))


def _is_unused(url: str) -> bool:
    """Whether a database has this product's tables, and nothing in them: a first `touchstone migrate` leaves that."""
    engine = connect(url)
    try:
        found = MetaData()
        found.reflect(engine)
        with engine.connect() as connection:
            ours = [table for name, table in found.tables.items() if name != "alembic_version"]
            return {table.name for table in ours} <= set(Base.metadata.tables) and not any(
                connection.execute(select(table).limit(1)).first() for table in ours
            )
    finally:
        engine.dispose()


def _known(catalogues: Path) -> dict[str, str]:
    """Digests of what earlier backups have saved, by path."""
    lists = sorted(catalogues.glob("*.files.gz"))
    return {each["path"]: each["sha256"] for path in lists[-1:] for each in _read_lines(path)}


def _copied(source: Path, target: Path) -> str | None:
    """Copy a file durably and return the sha256 of what was read; None when there is no such file."""
    digest = hashlib.sha256()
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        with source.open("rb") as file:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as copy:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    copy.write(piece)
                copy.flush()
                os.fsync(copy.fileno())
    except FileNotFoundError:
        return None
    shutil.move(temporary, target)
    return digest.hexdigest()


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    # It holds the hashes of keys and what people said: for its owner only.
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
        with gzip.open(raw, "wt", encoding="utf-8") as file:
            for line in lines:
                file.write(json.dumps(line) + "\n")
        raw.flush()
        os.fsync(raw.fileno())
    temporary.replace(path)


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
