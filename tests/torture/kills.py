"""SIGKILL after SIGKILL under mixed work on both databases: what was acknowledged stays, nothing else appears.

With API keys. A second process compacts the same folder without a pause meanwhile, and is killed as well.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
from sqlalchemy import func, select

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.catalogue.engine import connect
from indexer.catalogue.tables import ChangeRow
from tests.helpers.http_service import files
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.server_process import ServerProcess
from tests.torture.compactor import Compactor
from tests.torture.keyed import new_token


def kills(folder: Path, kills: int) -> str:
    """Half of the kills on SQLite and half on PostgreSQL, side by side."""
    postgres = PostgresServer()
    postgres.start()
    try:
        url = postgres.new_database(migrated=True)
        storms = (_Storm(folder / "sqlite", {}), _Storm(folder / "postgres", {"DATABASE_URL": url}))
        with ThreadPoolExecutor() as pool:
            on_sqlite, on_postgres = pool.map(lambda storm: storm.run(kills // 2), storms)
    finally:
        postgres.remove()
    return f"SQLite: {on_sqlite}. PostgreSQL: {on_postgres}"


class _Storm:
    """One data folder, the work on it, and what that was told."""

    def __init__(self, data: Path, settings: dict[str, str]) -> None:
        self._data = data
        self._url = settings.get("DATABASE_URL")
        self._settings = {"ACCESS": "keys", "REFRESH_INTERVAL_MS": "100", **settings}
        self._token = new_token(data, self._url)
        self._rng = random.Random(11)
        self._next = 0
        self._held: dict[int, str] = {}  # acknowledged, and never asked to be taken back
        self._gone: set[int] = set()  # taken back, acknowledged
        self._sent: set[str] = set()
        self._inspections: set[str] = set()
        self._wrong: list[str] = []
        self._counts = {"added": 0, "removed": 0, "detected": 0}

    def run(self, kills: int) -> str:
        """Kill so many times, or up to twice that where work is slow; check all after every tenth and at the end."""
        rewritten = rounds = 0
        while rounds < kills or (rounds < 2 * kills and not self._under_fire(rewritten, kills)):
            with self._server() as server:
                if rounds % 10 == 0:
                    self._check(server)
                before = self._compactions()
                compactor = Compactor(self._data, self._url)
                compactor.wait_until_at_work()
                threads = [threading.Thread(target=work, args=(server,)) for work in (self._teach, self._detect)]
                killers = [
                    threading.Timer(self._rng.uniform(0.2, 2.2), end) for end in (server.process.kill, compactor.kill)
                ]
                for thread in (*threads, *killers):
                    thread.start()
                for thread in (*threads, *killers):
                    thread.join()
                assert not self._wrong, self._wrong
                rewritten += self._compactions() > before
                rounds += 1
        with self._server() as server:
            self._check(server)
            assert server.client.get("/readyz").status_code == 200
            assert server.client.get("/version", headers={"Authorization": "Bearer nobody"}).status_code == 401
            assert server.stop() == 0
        assert self._under_fire(rewritten, kills), (
            f"kills came too early: {self._counts}, {rewritten} of {rounds} rounds"
        )
        assert not list(self._data.glob("segments/*.tmp"))
        return (
            f"{rounds} kills of each process, {self._counts['added']} references acknowledged, "
            f"{self._counts['removed']} taken back, {self._counts['detected']} detections, {self._compactions()} "
            f"compactions committed, in {rewritten} of the {rounds} rounds; all true afterwards"
        )

    def _under_fire(self, rewritten: int, kills: int) -> bool:
        """Whether enough was acknowledged, and compacted, for the kills to mean anything."""
        return min(rewritten, *self._counts.values()) >= kills // 4

    def _server(self) -> ServerProcess:
        server = ServerProcess(self._data, **self._settings)
        server.client.headers["Authorization"] = f"Bearer {self._token}"
        server.wait_until_live()
        return server

    def _compactions(self) -> int:
        engine = connect(DataFolder.existing(self._data, self._url).database)
        try:
            with engine.connect() as connection:
                compacted = select(func.count()).where(ChangeRow.kind == "compacted")
                return connection.scalar(compacted) or 0
        finally:
            engine.dispose()

    @contextmanager
    def _catalogue(self) -> Iterator[Catalogue]:
        catalogue = Catalogue.open(DataFolder.created(self._data, self._url).database)
        try:
            yield catalogue
        finally:
            catalogue.close()

    def _teach(self, server: ServerProcess) -> None:
        while True:
            seeds = (self._next, self._next + 1)
            self._next += 2
            self._sent |= {f"{seed}.png" for seed in seeds}
            body = [("images", (f"{seed}.png", part(seed), "image/png")) for seed in seeds]
            try:
                response = server.client.post("/references", data={"category": "disc"}, files=body)
                if response.status_code != 200:
                    self._wrong.append(response.text)
                    return
                self._held |= {result["reference_id"]: result["filename"] for result in response.json()["results"]}
                self._counts["added"] += 2
                if len(self._held) > 4 and self._rng.random() < 0.6:
                    victim = self._rng.choice(sorted(self._held))
                    del self._held[victim]  # from now on it may be there or not, until that is acknowledged
                    response = server.client.delete(f"/references/{victim}")
                    if response.status_code != 200:
                        self._wrong.append(response.text)
                        return
                    self._gone.add(victim)
                    self._counts["removed"] += 1
            except httpx.TransportError:
                return

    def _detect(self, server: ServerProcess) -> None:
        seed = 0
        while True:
            seed += 1
            try:
                response = server.client.post("/detect", files=files(part(seed % 50, scratched=True)))
            except httpx.TransportError:
                return
            if response.status_code not in (200, 409):
                self._wrong.append(response.text)
                return
            if response.status_code == 200:
                [result] = response.json()["results"]
                if result["recorded"]:
                    self._inspections.add(result["id"])
                self._counts["detected"] += 1

    def _check(self, server: ServerProcess) -> None:
        references = server.references()
        assert len(set(references.values())) == len(references), "an image became two references"
        assert self._held.items() <= references.items(), "acknowledged and lost"
        assert not self._gone & references.keys(), "taken back and there again"
        assert set(references.values()) <= self._sent, "nobody sent this"
        damaged = server.client.get("/version").json()["corrupt_segments"]
        assert damaged == [], f"{self._url or 'sqlite'}: {damaged}; {server.log.read_text()}"
        for inspection in self._rng.sample(sorted(self._inspections), min(5, len(self._inspections))):
            assert server.client.get(f"/inspections/{inspection}").status_code == 200, "a recorded inspection is lost"
        for reference in self._rng.sample(sorted(self._held), min(5, len(self._held))):
            assert server.client.get(f"/references/{reference}/image").status_code == 200, "an image is lost"
        with self._catalogue() as catalogue:
            memory = catalogue.memories.active()
            assert memory is not None
            named = {usage.segment.name for usage in catalogue.segments.of(memory.id)}
            assert named <= self._segments(), "the catalogue names a file that is not there"

    def _segments(self) -> set[str]:
        folder = self._data / "segments"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
