"""SQLite and PostgreSQL behave alike when opened, migrated, locked and unavailable."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, insert, inspect, make_url, select, text
from sqlalchemy.exc import OperationalError

from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.engine import connect
from indexer.catalogue.tables import Base, ReferenceRow, SegmentRow
from indexer.catalogue.timeouts import patient
from indexer.catalogue.transactions import Transactions
from indexer.domain.errors import (
    CatalogueBusy,
    CatalogueError,
    CatalogueUnavailable,
    CommitUncertain,
    SchemaMismatch,
    UnsupportedDatabase,
)
from tests.helpers.data_folder_process import StoreParts, write_segment
from tests.helpers.database_proxy import DatabaseProxy
from tests.helpers.postgres_server import PostgresServer

SPACE = ('{"encoder": "test"}', "f" * 64, "fp16")


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/catalogue.sqlite"


def test_a_new_database_is_created_and_opens_again_with_what_it_held(tmp_path: Path) -> None:
    first = Catalogue.open(url_of(tmp_path / "new" / "folder"))
    made = first.memories.ensure(*SPACE)
    first.close()
    reopened = Catalogue.open(url_of(tmp_path / "new" / "folder"))
    assert reopened.memories.active() == made
    reopened.close()


def test_many_may_open_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    memories: list[int] = []

    def work() -> None:
        together.wait()
        catalogue = Catalogue.open(url_of(tmp_path / "new"))
        memories.append(catalogue.memories.ensure(*SPACE).id)
        catalogue.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memories == [1] * 8


def test_sqlite_keeps_a_write_ahead_log_and_syncs_every_commit(tmp_path: Path) -> None:
    catalogue = Catalogue.open(url_of(tmp_path))
    with catalogue._transactions.reading() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    catalogue.close()
    assert pragmas == ["wal", 2, 1, 30_000]


def test_postgresql_commits_durably_and_waits_for_a_lock_no_longer_than_sqlite(postgres: PostgresServer) -> None:
    catalogue = Catalogue.open(postgres.new_database(migrated=True))
    with catalogue._transactions.writing() as connection:
        settings = [
            connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("synchronous_commit", "lock_timeout")
        ]
    catalogue.close()
    assert settings == ["on", "30s"]


def test_an_older_schema_is_refused_until_it_is_migrated(empty_database: str) -> None:
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE something_else (id INTEGER)")
    engine.dispose()
    with pytest.raises(SchemaMismatch, match=r"has schema none and this version needs \d+: run `touchstone migrate`"):
        Catalogue.open(empty_database)
    Catalogue.migrate(empty_database)
    Catalogue.open(empty_database).close()


def test_postgresql_is_never_migrated_without_being_told_to(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    with pytest.raises(SchemaMismatch, match="run `touchstone migrate`"):
        Catalogue.open(url)
    Catalogue.migrate(url.replace("postgresql+psycopg://", "postgresql://"))
    Catalogue.open(url).close()


def test_every_revision_goes_up_and_down_and_is_refused_as_long_as_it_is_not_the_newest(empty_database: str) -> None:
    engine = connect(empty_database)
    revisions = migrations.revisions()
    for revision in revisions:
        migrations.upgrade(engine, revision)
        if revision != revisions[-1]:
            with pytest.raises(SchemaMismatch, match=f"has schema {revision} and this version needs {revisions[-1]}"):
                Catalogue.open(empty_database)
    for revision in [*revisions[-2::-1], "base"]:
        migrations.downgrade(engine, revision)
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


def test_what_is_stored_under_a_name_of_before_is_read_under_the_present_one(empty_database: str) -> None:
    engine = connect(empty_database)
    migrations.upgrade(engine, "0010")
    quoted = 'It says "usual": 3 and "kind": "differently_framed"'
    finding = {"kind": "differently_framed", "detail": quoted, "value": 1.0, "usual": 0.5, "picture": 2}
    at = "2026-01-01 12:00:00+00:00"
    rows = {
        "change": {"version": 1, "at": at, "kind": "added", "detail": "{}"},
        "category": {
            "id": 1,
            "name": "disc",
            "settings": json.dumps({"refuse": ["differently_framed"]}),
            "created_at": at,
        },
        "reference": {
            "id": 1,
            "category_id": 1,
            "image_sha256": "a" * 64,
            "image_suffix": ".png",
            "filename": "a.png",
            "width": 64,
            "height": 48,
            "added_at": at,
            "added_version": 1,
            "findings": json.dumps([finding]),
        },
        "inspection": {
            "id": "0" * 36,
            "at": at,
            "filename": "b.png",
            "verdict": "normal",
            "score": 0.1,
            "version": 1,
            "width": 64,
            "height": 48,
            "regions": json.dumps([{"box": [0, 0, 1, 1], "evidence": {"reference_id": 1}}]),
            "references": "[]",
            "timings": "{}",
            "judgement": "defect",
            "judged_at": at,
            "defect": True,
            "kept_bytes": 9,
            "familiarity": json.dumps({"level": None, "uniformity": 0.25}),
            "better_category": json.dumps({"category": "nut"}),
            "notices": json.dumps([{"kind": "stored_differently", "detail": "d"}]),
        },
        "drift": {
            "category_id": 1,
            "calibration_key": "k",
            "version": 1,
            "started_at": at,
            "state": json.dumps({"counts": [0] * 10, "capitals": [0.2] * 5, "highest": 3.0}),
        },
    }
    for table, values in rows.items():
        columns = ", ".join(f'"{name}"' for name in values)
        with engine.begin() as connection:
            places = ", ".join(f":{name}" for name in values)
            connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), values)
    migrations.upgrade(engine)
    catalogue = Catalogue.open(empty_database)
    inspection = catalogue.inspections.get("0" * 36)
    assert (inspection.label, inspection.labelled_at is None, inspection.stored_bytes) == ("defect", False, 9)
    assert inspection.novelty == {"threshold": None, "self_similarity": 0.25}
    assert inspection.alternative_category == {"category": "nut"}
    assert inspection.regions == ({"box": [0, 0, 1, 1], "nearest_patch": {"reference_id": 1}},)
    assert inspection.notices == ({"kind": "encoding_mismatch", "detail": "d"},)
    renamed = {"kind": "framing", "detail": quoted, "value": 1.0, "typical": 0.5, "image_index": 2}
    assert catalogue.references.get(1).findings == (renamed,)
    assert catalogue.categories.get("disc").settings.refuse == ("framing",)
    assert catalogue.calibrations.drifts()["disc"].scores.max_evidence == 3.0
    catalogue.close()
    migrations.downgrade(engine, "0010")
    with engine.begin() as connection:
        assert json.loads(connection.scalar(text("SELECT CAST(findings AS TEXT) FROM reference"))) == [finding]
    engine.dispose()


def test_many_may_migrate_at_once(empty_database: str) -> None:
    together = threading.Barrier(4)
    failures: list[Exception] = []

    def work() -> None:
        together.wait()
        try:
            Catalogue.migrate(empty_database)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    Catalogue.open(empty_database).close()


def test_a_newer_schema_is_refused_and_not_migrated(empty_database: str) -> None:
    Catalogue.migrate(empty_database)
    engine = create_engine(empty_database)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    for touch in (Catalogue.open, Catalogue.migrate):
        with pytest.raises(SchemaMismatch, match="schema 9999, from a newer version of Touchstone"):
            touch(empty_database)


def test_the_migrations_make_exactly_the_tables_of_the_models_and_take_them_back(empty_database: str) -> None:
    Catalogue.migrate(empty_database)
    Catalogue.migrate(empty_database)
    engine = connect(empty_database)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        if engine.dialect.name == "sqlite":
            indexes = (
                connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql LIKE '%WHERE%'").scalars().all()
            )
            counted = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
            assert {"category", "coreset", "memory", "reference"} <= set(counted.scalars())
        else:
            indexes = (
                connection.exec_driver_sql("SELECT indexdef FROM pg_indexes WHERE position('WHERE' IN indexdef) > 0")
                .scalars()
                .all()
            )
        partial = sorted(
            str(statement).partition("WHERE ")[2].replace("(", "").replace(")", "") for statement in indexes
        )
        assert partial == [
            "active",
            "active",
            "label IS NOT NULL",
            "name IS NOT NULL",
            "name IS NULL",
            "promoted_reference_id IS NOT NULL",
            "removed_at IS NULL",
            "removed_at IS NULL",
            "review IS NOT NULL AND reviewed_at IS NULL",
            "review IS NOT NULL AND reviewed_at IS NULL",
            "stored_bytes IS NOT NULL",
            "stored_bytes IS NOT NULL",
        ]
    migrations.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrations.upgrade(engine)
    engine.dispose()
    Catalogue.open(empty_database).close()


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "postgresql+asyncpg://u:hunter2@h/d", "no url: hunter2"])
def test_other_databases_are_refused_without_repeating_the_password(url: str) -> None:
    with pytest.raises(UnsupportedDatabase) as caught:
        Catalogue.open(url)
    assert "hunter2" not in str(caught.value)


def test_a_database_that_goes_away_is_named_and_works_again_when_it_is_back(postgres: PostgresServer) -> None:
    catalogue = Catalogue.open(postgres.new_database(migrated=True))
    before = catalogue.memories.ensure(*SPACE)
    postgres.stop()
    try:
        for touch in (catalogue.memories.active, catalogue.categories.list, lambda: catalogue.memories.ensure(*SPACE)):
            with pytest.raises(CatalogueUnavailable, match="does not respond"):
                touch()
    finally:
        postgres.start()
    assert catalogue.memories.active() == before
    catalogue.close()


@pytest.mark.parametrize(
    ("place", "words"),
    [("127.0.0.1:1", "Connection refused"), ("nowhere.invalid:5432", "nowhere.invalid"), (None, "timeout expired")],
    ids=["nobody listens", "no such host", "no answer"],
)
def test_a_database_that_cannot_be_reached_is_named_within_its_timeout(place: str | None, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says a word
        place = place or f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"postgresql://touchstone:hunter2@{place}/touchstone?connect_timeout=2"
        for touch in (Catalogue.open, Catalogue.migrate):
            with pytest.raises(CatalogueUnavailable, match="does not respond") as caught:
                touch(url)
            assert words in str(caught.value)
            assert "hunter2" not in str(caught.value)
            assert "\n" not in str(caught.value)


def test_connecting_has_a_timeout_that_the_url_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def refused(*_: object, connect_timeout: object, **__: object) -> None:
        seen.append(str(connect_timeout))
        raise psycopg.OperationalError

    monkeypatch.setattr(psycopg.Connection, "connect", refused)
    for url in ("postgresql://h/d", "postgresql://h/d?connect_timeout=60"):
        engine = connect(url)
        for seconds in (90, 3.5):
            with patient(lock=1, answer=seconds), pytest.raises(OperationalError):
                engine.connect()
    assert seen == ["5", "4", "60", "4"]


@pytest.mark.parametrize("moment", ["connecting", "reading", "writing", "committing"])
def test_a_server_that_accepts_data_and_never_responds_times_out(postgres: PostgresServer, moment: str) -> None:
    url = postgres.new_database(migrated=True)
    with DatabaseProxy(url) as proxy:
        catalogue = Catalogue.open(proxy.url)
        transactions = catalogue._transactions
        if moment == "connecting":
            catalogue.close()
            proxy.swallow()

        def ask() -> None:
            with transactions.reading() if moment == "reading" else transactions.writing() as connection:
                if moment != "connecting":
                    proxy.swallow()
                if moment != "committing":
                    connection.execute(select(1))

        with patient(lock=0.2, answer=0.5), pytest.raises(CatalogueUnavailable, match="does not respond") as caught:
            ask()
        assert isinstance(caught.value, CommitUncertain) == (moment == "committing")
        assert not catalogue.answering
        proxy.flow()
        assert catalogue.version() == 0
        assert catalogue.answering
        catalogue.close()
    postgres.drop(url)


def test_a_write_waits_for_another_and_gives_up_with_a_name(database: str) -> None:
    first, second = Catalogue.open(database), Catalogue.open(database)
    first.memories.ensure(*SPACE)
    with first._transactions.writing():
        with patient(lock=0.2, answer=5), pytest.raises(CatalogueBusy):
            second.memories.ensure(*SPACE)
        assert second.answering
        assert second.version() == 1  # readers never wait
    with patient(lock=0.2, answer=5):
        second.memories.ensure(*SPACE)
    first.close()
    second.close()


def test_a_database_that_does_not_exist_is_named(postgres: PostgresServer) -> None:
    url = make_url(postgres.new_database()).set(database="missing").render_as_string(hide_password=False)
    with pytest.raises(CatalogueUnavailable, match='database "missing" does not exist'):
        Catalogue.open(url)


def test_orphan_deletion_waits_for_commits_that_killed_processes_sent_to_postgresql(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    folder = StoreParts.open(tmp_path, postgres.new_database(migrated=True))
    appended = folder.append("bolt", [b"one"])
    with (
        folder.catalogue._transactions.writing() as connection
    ):  # its process is dead, and the file lock with it, but not this
        segment = write_segment(folder.segments, [b"two"])
        image = folder.originals.path(folder.originals.write(b"two", ".png"), ".png")
        row = {"memory_id": folder.memory.id, "created_at": datetime.now(UTC), "retired_at": None}
        connection.execute(
            insert(SegmentRow).values(name=segment.name, sha256=segment.sha256, size=segment.size, count=1, **row)
        )
        copied = select(ReferenceRow.__table__).where(ReferenceRow.id == appended.reference_ids[0])
        [first] = connection.execute(copied).mappings()
        connection.execute(insert(ReferenceRow).values({**first, "id": 2, "image_sha256": image.stem}))
        sweeper = threading.Thread(target=folder.sweep)
        sweeper.start()
        sweeper.join(0.5)
    sweeper.join()
    assert folder.segments.read(segment.name, segment.sha256).header.count == 1
    assert image.read_bytes() == b"two"
    folder.catalogue.close()


def test_orphan_deletion_invalidates_commits_of_killed_processes_in_sqlites_log(tmp_path: Path) -> None:
    folder = StoreParts.open(tmp_path / "data", url_of(tmp_path / "data"))
    stored = folder.append("bolt", [b"one"])
    index = tmp_path / "data" / "catalogue.sqlite-shm"
    before = index.read_bytes()
    folder.append("bolt", [b"two"])
    with index.open("r+b") as file:  # killed after its commit was on the disk, before it told the others
        file.write(before)
    assert folder.catalogue.version() == stored.version
    folder.sweep()
    left = {path.name for path in (tmp_path / "data" / "segments").iterdir()}
    assert len(left) == 1
    later = tmp_path / "later"  # all others are killed, too, and somebody opens the database anew
    later.mkdir()
    for name in ("catalogue.sqlite", "catalogue.sqlite-wal"):
        shutil.copy(tmp_path / "data" / name, later / name)
    recovered = Catalogue.open(url_of(later))
    assert {segment.segment.name for segment in recovered.segments.of(folder.memory.id)} == left
    assert recovered.version() == stored.version
    recovered.close()
    folder.catalogue.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_without_a_byte_left_can_be_swept_once_the_log_of_sqlite_is_empty(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
    try:
        folder = StoreParts.open(tmp_path, url_of(tmp_path))
        folder.append("bolt", [b"one"])
        folder.catalogue.close()  # which empties the log into the database
        folder = StoreParts.open(tmp_path, url_of(tmp_path))
        orphan = write_segment(folder.segments, [b"two"]).name
        with suppress(OSError), (tmp_path / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"." * 512):
                pass
        folder.sweep()
        assert orphan not in {path.name for path in (tmp_path / "segments").iterdir()}
        assert (tmp_path / "catalogue.sqlite-wal").stat().st_size == 0
        named = {segment.segment.name for segment in folder.catalogue.segments.of(folder.memory.id)}
        assert named == {path.name for path in (tmp_path / "segments").iterdir()}
        folder.catalogue.close()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.parametrize("kind", ["reading", "writing"])
def test_a_commit_that_fails_leaves_nothing_open_in_the_next_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    engine = connect(f"sqlite:///{tmp_path}/catalogue.sqlite")
    Base.metadata.create_all(engine)
    transactions = Transactions(engine)

    def fail(_self: object, _connection: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(type(engine.dialect), "do_commit", fail)
        with pytest.raises(CatalogueError), getattr(transactions, kind)() as connection:
            connection.execute(select(SegmentRow.id)).all()
    for transaction in (transactions.writing, transactions.reading):
        with transaction() as connection:
            connection.execute(select(SegmentRow.id)).all()
    engine.dispose()
