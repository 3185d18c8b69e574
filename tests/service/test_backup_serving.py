"""Backups of a server at work: each is a moment of its history, and can be served."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.encoders.base import FeatureSpace
from indexer.jobs.backup import backup
from indexer.jobs.restore import restore
from indexer.jobs.verify import verify
from indexer.references.reference_store import ReferenceStore
from service.cli.app import app
from tests.helpers.commands import indexed, opened, touchstone
from tests.helpers.http_service import files
from tests.helpers.part_folders import folder_of
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess

BACKUPS = 3
_WAIT = 120


def quiet(done: int, total: int) -> None:
    assert done <= total


class Work:
    """Onboarding and removal one after another, detection and compaction beside them, until it is told to stop.

    states: the live references (by file name) after each acknowledged change. A change that is under way is in none.
    """

    def __init__(self, server: ServerProcess, data: Path, database: str) -> None:
        self._server = server
        self._data = data
        self._database = database
        self._stop = threading.Event()
        self._failures: list[str] = []
        self.states: list[frozenset[str]] = [frozenset()]
        self.detections = self.compactions = 0
        targets = (self._change, self._detect, self._compact)
        self._threads = [threading.Thread(target=self._guarded, args=(target,)) for target in targets]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._failures == []

    def wait_for_changes(self, count: int) -> None:
        """Return once so many more changes have been acknowledged."""
        target, end = len(self.states) + count, time.monotonic() + _WAIT
        while len(self.states) < target:
            assert not self._failures, self._failures
            assert time.monotonic() < end
            time.sleep(0.01)

    def wait_for_pruning(self) -> None:
        """Return once retention has taken inspections and images away."""
        end = time.monotonic() + _WAIT
        requested = [f'touchstone_history_pruned_total{{target="{what}"' for what in ("inspections", "images")]
        while not all(metric in self._server.client.get("/metrics").text for metric in requested):
            assert time.monotonic() < end
            time.sleep(0.1)

    def _guarded(self, work: object) -> None:
        while not self._stop.is_set():
            try:
                work()  # type: ignore[operator]
            except Exception as error:
                self._failures.append(repr(error))
                return

    def _change(self) -> None:
        rng, next_seed, held = random.Random(len(self.states)), 2 * len(self.states), self.states[-1]
        if len(held) > 4 and rng.random() < 0.4:
            ids = {name: key for key, name in self._server.references().items()}
            victim = rng.choice(sorted(held))
            self._server.client.delete(f"/references/{ids[victim]}").raise_for_status()
            self.states.append(held - {victim})
            return
        names = [f"{seed}.png" for seed in (next_seed, next_seed + 1)]
        body = [("images", (name, part(int(name[:-4])), "image/png")) for name in names]
        self._server.client.post("/references", data={"category": "disc"}, files=body).raise_for_status()
        self.states.append(held | set(names))

    def _detect(self) -> None:
        response = self._server.client.post("/detect", files=files(part(10_000 + self.detections, scratched=True)))
        assert response.status_code in (200, 409)
        self.detections += 1

    def _compact(self) -> None:
        catalogue = Catalogue.open(self._database)
        record = catalogue.memories.active()
        catalogue.close()
        assert record is not None
        reference_store = ReferenceStore.open(
            self._data, FeatureSpace.from_json(record.space_json), database_url=self._database
        )
        while not self._stop.is_set():
            self.compactions += reference_store.compact() > 0
            reference_store.refresh()
            self._stop.wait(0.05)
        reference_store.close()


def test_every_backup_of_a_server_at_work_is_a_moment_of_its_history(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    data, saved = tmp_path / "data", tmp_path / "saved"
    settings = {
        "DATABASE_URL": database,
        "KEEP_INSPECTIONS": "6",
        "KEEP_IMAGES": "3",
        "KEEP_DEFECTS": "6",
        "KEEP_DEFECT_IMAGES": "3",
        "PRUNE_INTERVAL_SECONDS": "0.2",
        "REFRESH_INTERVAL_MS": "100",
    }
    made: list[tuple[str, int, int]] = []  # its name; how many changes were acknowledged before it began and ended
    sizes: list[int] = []
    with ServerProcess(data, **settings).wait_until_live() as server:
        work = Work(server, data, database)
        work.start()
        try:
            for _ in range(BACKUPS):
                work.wait_for_changes(3)
                before = len(work.states) - 1
                done = backup(DataFolder.existing(data, database), saved, quiet)
                made.append((done.name, before, len(work.states) - 1))
                assert done.damaged == ()
                stored = sum(path.stat().st_size for path in (saved / "files").rglob("*") if path.is_file())
                assert done.copied_bytes == stored - sum(sizes)
                sizes.append(done.copied_bytes)
            work.wait_for_changes(1)  # what was under way at the end of the last one
        finally:
            work.stop()
        assert work.compactions >= BACKUPS
        server.stop()
    last = backup(DataFolder.existing(data, database), saved, quiet)
    assert backup(DataFolder.existing(data, database), saved, quiet).copied_bytes == 0, (
        "nothing happened, and something was copied"
    )
    end = len(work.states) - 1
    for index, (name, before, after) in enumerate([*made, (last.name, end, end)]):
        folder = tmp_path / f"restored{index}"
        url = postgres.new_database() if database.startswith("postgresql") else f"sqlite:///{folder}/catalogue.sqlite"
        restore(saved, folder, url, quiet, name)
        assert verify(DataFolder.existing(folder, url), quiet).damaged == ()
        catalogue = Catalogue.open(url)
        filenames = [reference.filename for reference in catalogue.references.page(limit=1000).items]
        catalogue.close()
        assert len(set(filenames)) == len(filenames)
        # The change under way when the catalogue was read may be in it, whole, although it was not yet acknowledged.
        assert frozenset(filenames) in work.states[before : after + 2], name
    with ServerProcess(folder, DATABASE_URL=url).wait_until_live() as server:
        assert frozenset(server.references().values()) == work.states[-1]
        assert server.client.get("/readyz").status_code == 200
        for reference in server.references():
            assert server.client.get(f"/references/{reference}/image").status_code == 200
        assert server.score(part(99, scratched=True)) > 0
        server.stop()
    assert_damage_is_found(folder, url)


def assert_damage_is_found(folder: Path, url: str) -> None:
    """Spoil a file of each kind and take one away: the command names each, and nothing else."""
    run, where = CliRunner(), ["--data", str(folder), "--database-url", url]
    clean = run.invoke(app, ["verify", *where])
    assert clean.exit_code == 0, clean.output
    assert clean.stdout.endswith("files checked, 0 problems\n")
    spoilt = [
        next(folder.glob(kind)) for kind in ("segments/*", "originals/*/*/*", "inspections/*.png", "inspections/*.jpg")
    ]
    for victim in spoilt:
        content = bytearray(victim.read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        victim.write_bytes(content)
    gone = next(path for path in folder.glob("originals/*/*/*") if path not in spoilt)
    gone.unlink()
    expected = {f"{path.relative_to(folder)}: damaged" for path in spoilt} | {f"{gone.relative_to(folder)}: missing"}
    verified = run.invoke(app, ["verify", *where])
    assert verified.exit_code == 1
    assert set(verified.stderr.strip().splitlines()[-len(expected) :]) == expected
    saved = run.invoke(app, ["backup", str(folder / "elsewhere"), *where])
    assert saved.exit_code == 1
    assert f"{gone.relative_to(folder)}: missing" in saved.stderr


def test_commands_that_can_do_nothing_say_why_in_one_line(tmp_path: Path) -> None:
    run = CliRunner()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    cases = {
        ("restore", str(tmp_path / "none"), "--data", str(tmp_path / "new")): "there is no backup in",
        ("verify", "--data", str(tmp_path / "full")): "it has no catalogue",
        ("backup", str(tmp_path / "b"), "--data", str(tmp_path / "full")): "it has no catalogue",
    }
    for command, words in cases.items():
        told = run.invoke(app, list(command))
        assert told.exit_code == 2, told.output
        [line] = [line for line in told.stderr.splitlines() if line.startswith("touchstone: ")]
        assert words in line


@pytest.mark.parametrize("command", ["backup", "restore", "verify"])
def test_help_says_what_exit_codes_mean(command: str) -> None:
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert "Exit code: 0" in told.output


def test_a_backup_with_a_damaged_file_is_verified_restored_and_mended_by_commands(tmp_path: Path) -> None:
    data, saved, restored_data = tmp_path / "data", tmp_path / "saved", tmp_path / "again"
    indexed(data, folder_of(tmp_path / "parts", ".", disc=4))
    assert touchstone("backup", saved, data=data).exit_code == 0
    clean = touchstone("verify", "--backup", saved, data=tmp_path / "none")
    assert (clean.exit_code, clean.stdout.split(": ")[1]) == (0, "5 files checked, 0 problems\n")
    [segment] = (saved / "files" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])
    line = f"segments/{segment.name}: damaged\n"
    verified = touchstone("verify", "--backup", saved, data=tmp_path / "none")
    assert (verified.exit_code, verified.stderr) == (1, line)
    restored = touchstone("restore", saved, data=restored_data)
    assert (restored.exit_code, restored.stderr) == (1, line)
    assert "5 files, 1 problems\n4 references are excluded from comparison until they are re-encoded" in restored.stdout
    assert touchstone("rebuild", "--damaged", data=restored_data).exit_code == 0
    assert touchstone("verify", data=restored_data).exit_code == 0
    reference_store = opened(restored_data)
    assert len(reference_store.memory) == 4
    reference_store.close()
    mended = touchstone("backup", saved, data=data)
    assert (mended.exit_code, "1 copied again" in mended.stdout) == (0, True)
    assert touchstone("verify", "--backup", saved, data=data).exit_code == 0
    assert touchstone("backup", "--check", saved, data=data).exit_code == 0
    alone = touchstone("verify", "--name", "x", data=data)
    assert (alone.exit_code, "--name needs --backup FOLDER" in alone.stderr) == (2, True)
