"""`touchstone serve --ray`: the answers of a single process, from a cluster of which nodes are killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.helpers.http_service import files
from tests.helpers.part_images import part, varied
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.ray_cluster import ray_cluster
from tests.helpers.server_process import ServerProcess

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

ENCODER = {"ENCODER": "filterbank"}
OF_THE_REQUEST = {"id", "at", "timings"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plant") / "data"


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer) -> dict[str, str]:
    """What all processes on the data folder are told."""
    return {**ENCODER, "DATABASE_URL": postgres.new_database(migrated=True)}


@pytest.fixture(scope="module")
def server(cluster: Cluster, data: Path, shared: dict[str, str]) -> Iterator[ServerProcess]:
    """A front on the cluster, with its data folder, which is new."""
    with ServerProcess(data, "--ray", cluster.address, **shared).wait_until_live() as server:
        server.teach("disc", *(varied(seed) for seed in range(20)))
        server.teach("plate", *(part(seed, kind=1) for seed in range(20)))
        for category in ("disc", "plate"):
            assert server.client.patch(f"/categories/{category}", json={"false_reject_rate": 0.05}).status_code == 200
            server.wait_until_calibrated(category)
        yield server


def test_a_cluster_that_is_too_small_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    refused = ServerProcess(tmp_path / "data", "--ray", cluster.address, RAY_MIN_MEMORIES="4", **ENCODER)
    assert refused.process.wait(120) == 2
    assert refused.log.read_text().splitlines()[-1] == (
        "touchstone: the Ray cluster has 2 CPUs, and serving takes 5: add nodes"
    )


def answers(server: ServerProcess) -> list[dict[str, Any]]:
    """What it says of good and bad parts, with their maps, of named and of recognised categories."""
    said = []
    for category in ("disc", "plate", None):
        images = files(varied(30), varied(31, scratched=True), part(32, kind=1), part(33, kind=1, scratched=True))
        form = {"record": "false", "map": "raw"} | ({} if category is None else {"category": category})
        answer = server.client.post("/detect", data=form, files=images)
        assert answer.status_code == 200, answer.text
        said += answer.json()["results"]
    return [{name: value for name, value in result.items() if name not in OF_THE_REQUEST} for result in said]


def test_answers_equal_those_of_a_single_process_also_from_shards(
    server: ServerProcess, cluster: Cluster, data: Path, shared: dict[str, str]
) -> None:
    seen = answers(server)
    assert {result["verdict"] for result in seen} >= {"anomalous"}
    assert any(result["regions"] for result in seen)
    with ServerProcess(data, **shared).wait_until_live() as alone:
        alone.wait_until_calibrated("plate")
        assert answers(alone) == seen
        assert alone.client.get("/version").json()["engine"] == server.client.get("/version").json()["engine"]
    # Of 20 × 12,544 bytes: four shards a category, with the undivided ones more than a replica holds.
    with ServerProcess(data, "--ray", cluster.address, RAY_SHARD_BYTES="100000", **shared).wait_until_live() as sharded:
        sharded.wait_until_calibrated("plate")
        assert answers(sharded) == seen


def test_what_is_added_and_removed_is_compared_with_at_once(server: ServerProcess) -> None:
    def distance() -> float:
        answer = server.client.post(
            "/detect",
            data={"category": "disc", "min_version": str(version), "record": "false"},
            files=files(varied(40)),
        )
        assert answer.status_code == 200, answer.text
        score: float = answer.json()["results"][0]["score"]
        return score

    added = server.client.post("/references", data={"category": "disc"}, files=files(varied(40))).json()
    version = added["version"]
    assert distance() < 1e-3
    version = server.client.delete(f"/references/{added['results'][0]['reference_id']}").json()["version"]
    assert distance() > 1e-3


def test_a_cluster_that_serves_other_data_is_refused(cluster: Cluster, server: ServerProcess, tmp_path: Path) -> None:
    other = ServerProcess(tmp_path / "other", "--ray", cluster.address, **ENCODER)
    assert other.process.wait(120) == 2
    said = other.log.read_text().splitlines()[-1]
    assert said.startswith(f"touchstone: the Ray cluster serves {server.data} ")
    assert said.endswith("or use another cluster")


def test_a_node_that_is_killed_under_load_costs_retries_and_nothing_acknowledged(
    server: ServerProcess, cluster: Cluster
) -> None:
    [node, _] = cluster.worker_nodes  # which has the encoder or the memory
    cluster.add_node(num_cpus=1, object_store_memory=128 << 20)  # for what it did
    acknowledged: dict[str, float] = {}
    taught: set[int] = set()
    refused: list[str] = []
    done = threading.Event()

    def inspect(seed: int) -> None:
        while not done.is_set():
            answer = server.client.post("/detect", data={"category": "plate"}, files=files(part(seed, kind=1)))
            if answer.status_code == 200:
                acknowledged[answer.json()["results"][0]["id"]] = time.monotonic()
            else:
                refused.append(answer.text)

    lines = [threading.Thread(target=inspect, args=(seed,)) for seed in (50, 51)]
    for line in lines:
        line.start()
    try:
        killed = 0.0
        for seed in range(60, 64):
            added = server.client.post("/references", data={"category": "plate"}, files=files(part(seed, kind=1)))
            assert added.status_code == 200, added.text
            taught.add(added.json()["results"][0]["reference_id"])
            if seed == 61:
                cluster.remove_node(node, allow_graceful=False)
                killed = time.monotonic()
        end = killed + 60
        while sum(at > killed + 1 for at in acknowledged.values()) < 10:
            assert time.monotonic() < end, "no answers after a node was killed"
            time.sleep(0.1)
    finally:
        done.set()
        for line in lines:
            line.join()
    assert refused == []
    stored = server.client.get("/inspections", params={"limit": "1000"}).json()["inspections"]
    assert {inspection["id"] for inspection in stored} >= set(acknowledged)
    assert taught <= set(server.references())
    assert server.client.get("/readyz").status_code == 200
    assert server.stop() == 0
