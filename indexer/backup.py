"""A data folder and its catalogue copied to another folder while they are in use, checked, and put back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image
from sqlalchemy import Connection, DateTime, Engine, LargeBinary, MetaData, Table, func, insert, select, text

from indexer.catalogue import schema
from indexer.catalogue.audit import note
from indexer.catalogue.database import Transactions, alone, connect
from indexer.catalogue.files import needs_picture, thumbnail_name
from indexer.catalogue.models import Base, InspectionRow, PlacementRow, ReferenceRow, SegmentRow
from indexer.data_folder import DataFolder
from indexer.store import original_name, sync_folder

Progress = Callable[[int, int], None]  # files done, files in all

_PIECE = 4 << 20
_ROWS = 500
_UNREADABLE = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    UnicodeDecodeError,
    json.JSONDecodeError,
    KeyError,
    StopIteration,
)


class BackupError(Exception):
    """What cannot be backed up, verified or restored; the message is one line for a person."""


@dataclass(frozen=True)
class Kept:
    """A file that the catalogue names. path: within the data folder; sha256: None if not known."""

    path: str
    sha256: str | None


@dataclass(frozen=True)
class Done:
    """What was done. files: in all; copied: those that were new, of `copied_bytes`; damaged: a line for each fault."""

    name: str
    files: int
    copied: int
    copied_bytes: int
    damaged: tuple[str, ...]


def backup(folder: DataFolder, target: Path, progress: Progress) -> Done:
    """Copy what the catalogue holds now, and the files it names that the target lacks. Services may go on.

    A damaged or missing file is reported, and does not keep the rest from being saved.
    """
    files, catalogues = target / "files", target / "catalogues"
    for part in (files, catalogues):
        part.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    known = _known(catalogues)
    engine = connect(folder.database)
    try:
        schema.check(engine)
        # No sweep takes a file away that this state of the catalogue names.
        with folder.lock.appending(), Transactions(engine).reading() as connection:
            _write_lines(catalogues / f"{name}.rows.gz", _rows(connection))
            wanted = list(named_files(connection))
            manifest, damaged, copied, copied_bytes = [], [], 0, 0
            for number, each in enumerate(wanted):
                progress(number, len(wanted))
                source, saved = folder.root / each.path, files / each.path
                digest = known.get(each.path)
                if digest is None or not saved.is_file():
                    digest = _copied(source, saved, each.sha256)
                    if digest is None:
                        damaged.append(f"{each.path}: {_fault(source)}")
                        continue
                    copied, copied_bytes = copied + 1, copied_bytes + saved.stat().st_size
                manifest.append({"path": each.path, "sha256": digest})
            progress(len(wanted), len(wanted))
    finally:
        engine.dispose()
    _write_lines(catalogues / f"{name}.files.gz", manifest)  # last: a backup without it is not one
    return Done(name, len(wanted), copied, copied_bytes, tuple(damaged))


def verify(folder: DataFolder, progress: Progress) -> Done:
    """Read every file that the catalogue names and compare it with its checksum; hold the catalogue against itself.

    Which means: SQLite's own check of its file, every reference placed, and in a row that its segment has.
    """
    engine = connect(folder.database)
    try:
        schema.check(engine)
        with folder.lock.appending(), Transactions(engine).reading() as connection:
            wanted = list(named_files(connection))
            damaged = [*_unsound(connection), *_unplaced(connection)]
            for number, each in enumerate(wanted):
                progress(number, len(wanted))
                if not _intact(folder.root / each.path, each.sha256):
                    damaged.append(f"{each.path}: {_fault(folder.root / each.path)}")
            progress(len(wanted), len(wanted))
    finally:
        engine.dispose()
    return Done("", len(wanted), 0, 0, tuple(damaged))


def restore(
    source: Path, data: Path, database_url: str | None, progress: Progress, name: str | None = None
) -> Done:  # fmt: skip
    """Put a backup, the newest or the one named, into an empty data folder and an empty database, of either kind.

    Every file is checked on its way. The catalogue is filled last, in one transaction: an interrupted restore can be
    run again and has restored nothing until then. A backup by an older version is migrated then. Raises BackupError.
    """
    names = sorted(path.name.removesuffix(".files.gz") for path in (source / "catalogues").glob("*.files.gz"))
    if not names:
        raise BackupError(f"there is no backup in {source}")
    chosen = names[-1] if name is None else name
    if chosen not in names:
        raise BackupError(f"there is no backup {chosen!r}; there are {', '.join(names[-5:])}")
    try:
        with DataFolder.restored(data, database_url) as folder:
            manifest, copied_bytes = _restore(source, chosen, folder, progress)
    except _UNREADABLE as error:
        raise BackupError(f"backup {chosen} cannot be read: {error}; nothing was restored") from None
    engine = connect(folder.database)
    try:
        # It is whole now: what is still to be migrated is what `touchstone migrate` would do, too.
        with alone(engine):
            schema.upgrade(engine)
        with Transactions(engine).writing() as connection:
            note(connection, "backup.restored", chosen, after={"files": len(manifest)})
    finally:
        engine.dispose()
    return Done(chosen, len(manifest), len(manifest), copied_bytes, ())


def _restore(
    source: Path, name: str, folder: DataFolder, progress: Progress
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    engine = connect(folder.database)
    try:
        if not schema.is_empty(engine) and not _is_unused(engine):
            raise BackupError("the database is not empty: restore into a new one")
        rows = _read_lines(source / "catalogues" / f"{name}.rows.gz")
        revision = next(rows)["schema"]
        if revision not in schema.revisions():
            raise BackupError(f"backup {name} was made by a newer version of Touchstone: restore it with that")
        manifest = list(_read_lines(source / "catalogues" / f"{name}.files.gz"))
        copied_bytes = 0
        for number, each in enumerate(manifest):
            progress(number, len(manifest))
            if _copied(source / "files" / each["path"], folder.root / each["path"], each["sha256"]) is None:
                raise BackupError(f"the backup is damaged: {each['path']}; nothing was restored")
            copied_bytes += (folder.root / each["path"]).stat().st_size
        progress(len(manifest), len(manifest))
        with alone(engine):
            schema.upgrade(engine, revision)
            _fill(engine, rows)
    finally:
        engine.dispose()
    return manifest, copied_bytes


def named_files(connection: Connection) -> Iterator[Kept]:
    """Every file that the catalogue needs: segments, pictures of references and inspections, maps, thumbnails."""
    used = select(SegmentRow.name, SegmentRow.sha256).where(SegmentRow.retired_at.is_(None))
    for row in connection.execute(used.order_by(SegmentRow.id)):
        yield Kept(f"segments/{row.name}", row.sha256)
    pictures: set[tuple[str, str]] = set()
    live = select(ReferenceRow.image_sha256, ReferenceRow.image_suffix).where(needs_picture(datetime.now(UTC)))
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


def _unplaced(connection: Connection) -> Iterator[str]:
    unplaced = text(
        "SELECT id FROM reference WHERE removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM placement "
        "JOIN memory ON memory.id = placement.memory_id AND memory.active WHERE placement.reference_id = reference.id)"
    )
    for number in connection.scalars(unplaced):
        yield f"reference {number}: not in the memory being served"
    beyond = select(PlacementRow.reference_id, SegmentRow.name).join(
        SegmentRow, SegmentRow.id == PlacementRow.segment_id
    )
    for number, name in connection.execute(
        beyond.where((PlacementRow.row >= SegmentRow.count) | SegmentRow.retired_at.is_not(None))
    ):
        yield f"reference {number}: placed where segment {name} has nothing"


def _unsound(connection: Connection) -> Iterator[str]:
    """What SQLite finds wrong with its own file. PostgreSQL checks pages itself where its checksums are on."""
    if connection.dialect.name == "sqlite":
        for [found] in connection.exec_driver_sql("PRAGMA integrity_check"):
            if found != "ok":
                yield f"catalogue: {' '.join(str(found).split())}"


def _rows(connection: Connection) -> Iterator[dict[str, Any]]:
    yield {"schema": connection.scalar(text("SELECT version_num FROM alembic_version"))}
    for table in _tables(connection).sorted_tables:
        for row in connection.execute(select(table)):
            yield {"table": table.name, "row": {key: _plain(value) for key, value in row._mapping.items()}}


def _tables(connection: Connection) -> MetaData:
    """The tables of the database's own schema, with the types that the models give the columns that they know."""
    found = MetaData()
    found.reflect(connection, only=lambda name, _: name != "alembic_version")
    for name, table in found.tables.items():
        model = Base.metadata.tables.get(name)
        for column in table.columns:
            if model is not None and column.name in model.columns:
                column.type = model.columns[column.name].type
    return found


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
    with Transactions(engine).writing() as connection:
        tables = _tables(connection).tables
        batch: list[dict[str, Any]] = []
        current = ""
        for line in lines:
            if line["table"] != current or len(batch) >= _ROWS:
                if batch:
                    connection.execute(insert(tables[current]), batch)
                current, batch = line["table"], []
            table = tables[current]
            batch.append({key: _value(table, key, value) for key, value in line["row"].items()})
        if batch:
            connection.execute(insert(tables[current]), batch)
        if engine.dialect.name == "postgresql":
            _continue_numbers(connection)


def _continue_numbers(connection: Connection) -> None:
    """Ids were given: PostgreSQL's sequences have to go on after them."""
    for table in _tables(connection).sorted_tables:
        sequence = connection.scalar(
            text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": f'"{table.name}"'}
        ) if "id" in table.columns else None  # fmt: skip
        if sequence is not None:
            newest = connection.scalar(select(func.max(table.columns["id"])))
            if newest is not None:
                connection.execute(select(func.setval(sequence, newest)))


def _is_unused(engine: Engine) -> bool:
    """Whether a database has this product's tables, and nothing in them: a first `touchstone migrate` leaves that."""
    found = MetaData()
    found.reflect(engine)
    with engine.connect() as connection:
        ours = [table for name, table in found.tables.items() if name != "alembic_version"]
        return {table.name for table in ours} <= set(Base.metadata.tables) and not any(
            connection.execute(select(table).limit(1)).first() for table in ours
        )


def _known(catalogues: Path) -> dict[str, str]:
    """Digests of what earlier backups have saved, by path."""
    lists = sorted(catalogues.glob("*.files.gz"))
    return {each["path"]: each["sha256"] for path in lists[-1:] for each in _read_lines(path)}


def _copied(source: Path, target: Path, expected: str | None) -> str | None:
    """Copy a file durably and return its sha256; None, with the target as it was, if it is missing or not as expected.

    What is there already may be an older backup's, and good: it is replaced by nothing that is not.
    """
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
        if expected is not None and digest.hexdigest() != expected:
            return None
        temporary.replace(target)
        sync_folder(target.parent)
    except FileNotFoundError:
        return None
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def _fault(path: Path) -> str:
    return "damaged" if path.is_file() else "missing"


def _intact(path: Path, sha256: str | None) -> bool:
    """Whether a file has its checksum; for a map or thumbnail, which has none in the catalogue, whether it decodes."""
    try:
        with path.open("rb") as file:
            if sha256 is not None:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
            with Image.open(file) as image:
                image.load()
    except (OSError, SyntaxError, ValueError):  # what Pillow raises, besides FileNotFoundError
        return False
    return True


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
