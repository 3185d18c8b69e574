"""`touchstone serve --ray`: the answers of a single process, from a cluster of which nodes are killed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ray.cluster_utils import Cluster

from tests.helpers.http_service import check_problem, files
from tests.helpers.part_images import part, varied
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.ray_cluster import ray_cluster, workers
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

ENCODER = {"ENCODER": "filterbank"}
OF_THE_REQUEST = {"id", "at", "timings"}
_QUEUE = 3  # images that wait, at most


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


@pytest.fixture(scope="module")
def sharded(server: ServerProcess, cluster: Cluster, data: Path, shared: dict[str, str]) -> Iterator[ServerProcess]:
    """Another front on the same deployments, with a short queue, one image under way, and divided categories."""
    settings = {
        # Of 20 × 12,544 bytes: four shards a category, with the undivided ones more than a replica holds.
        "RAY_SHARD_BYTES": "100000",
        "RAY_MAX_ENCODERS": "1",
        "BATCH_SIZE": "1",
        "QUEUE_SIZE": str(_QUEUE),
        "DEADLINE_MS": "60000",
    }
    with ServerProcess(data, "--ray", cluster.address, **settings, **shared).wait_until_live() as sharded:
        sharded.wait_until_calibrated("plate")
        yield sharded


def problems(server: ServerProcess) -> list[tuple[int, dict[str, Any], str | None]]:
    """What it answers to requests that cannot be met: status, problem, Retry-After."""
    form: dict[str, str]
    said = []
    for form, image in (
        ({"min_version": "1000000"}, part(1)),
        ({"min_version": "-1"}, part(1)),
        ({"category": "unknown"}, part(1)),
        ({"category": "disc"}, b"no image"),
        ({"map": "blue"}, part(1)),
        ({}, b""),
    ):
        answer = server.client.post("/detect", data=form, files=files(image))
        problem = answer.json()
        check_problem(answer, answer.status_code, problem["type"].removeprefix("/problems/"))
        del problem["request_id"]
        said.append((answer.status_code, problem, answer.headers.get("retry-after")))
    return said


def series(server: ServerProcess) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The value of each of its metrics by name and labels, but for those of the process and of requests by route."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(server.client.get("/metrics").text)
        for sample in family.samples
        if sample.name.startswith("touchstone_") and not sample.name.startswith("touchstone_request")
    }


def test_answers_problems_and_metrics_equal_those_of_a_single_process_also_from_shards(
    server: ServerProcess, sharded: ServerProcess, data: Path, shared: dict[str, str]
) -> None:
    seen = answers(server)
    assert {result["verdict"] for result in seen} >= {"anomalous"}
    assert any(result["regions"] for result in seen)
    with ServerProcess(data, BATCH_SIZE="1", **shared).wait_until_live() as alone:
        alone.wait_until_calibrated("plate")
        assert answers(alone) == seen
        assert answers(sharded) == seen
        expected = problems(alone)
        assert [status for status, _, _ in expected] == [503, 422, 404, 415, 422, 422]
        assert problems(sharded) == expected
        versions = [process.client.get("/version").json() for process in (alone, sharded)]
        assert versions[0]["engine"] == versions[1]["engine"]
        of_one, of_cluster = series(alone), series(sharded)
        assert of_one.keys() == of_cluster.keys()
        counted = [key for key in of_one if key[0].endswith(("verdicts_total", "problems_total", "_images_count"))]
        assert sum(of_one[key] for key in counted) > 12
        assert {key: of_cluster[key] for key in counted} == {key: of_one[key] for key in counted}
        assert (ready := alone.client.get("/readyz").json()).keys() == (
            here := sharded.client.get("/readyz").json()
        ).keys()
        assert (ready["version"], ready["references"]) == (here["version"], here["references"])


def test_a_condensed_category_is_searched_alike_also_in_shards(
    server: ServerProcess, sharded: ServerProcess, data: Path, shared: dict[str, str]
) -> None:
    before = answers(server)

    def in_use(process: ServerProcess) -> bool:
        view = process.client.get("/categories/plate").json()
        return (view["coreset"] or {}).get("state") == "in use" and view["calibration"]["state"] == "ready"

    with ServerProcess(data, BATCH_SIZE="1", **shared).wait_until_live() as alone:
        assert server.client.put("/categories/plate/coreset", json={"share": 0.4}).status_code == 200
        for process in (server, sharded, alone):
            eventually(partial(in_use, process), "the coreset is not searched", 120)
        seen = answers(alone)
        assert seen != before
        assert [result["verdict"] for result in seen] == [result["verdict"] for result in before]
        assert answers(server) == seen
        assert answers(sharded) == seen
    assert server.client.delete("/categories/plate/coreset").status_code < 300


def test_beyond_its_queue_requests_are_refused_and_a_replica_killed_meanwhile_costs_no_answer(
    sharded: ServerProcess,
) -> None:
    def inspect() -> httpx.Response:
        form = {"category": "disc", "record": "false"}
        return sharded.client.post("/detect", data=form, files=files(varied(30)))

    expected = inspect().json()["results"][0]["score"]
    before = sharded.client.get("/metrics").text
    [encoder] = workers("ServeReplica:touchstone-encoder")
    encoder.suspend()
    with ThreadPoolExecutor(3 * _QUEUE) as lines:
        requests = [lines.submit(inspect) for _ in range(3 * _QUEUE)]
        try:
            fewest = 2 * _QUEUE - 1  # one image is under way, and the queue is full
            eventually(lambda: sum(request.done() for request in requests) >= fewest, "nothing was refused")
            assert sharded.client.get("/readyz").status_code == 200
            full = series(sharded)[("touchstone_queue_depth", frozenset({("queue", "detect")}))]
        finally:
            encoder.kill()
        done = [request.result() for request in requests]
    refused = [answer for answer in done if answer.status_code != 200]
    assert len(refused) in (fewest, fewest + 1)  # the self-check's image, or a slow start, may cost one its place
    for answer in refused:
        check_problem(answer, 503, "queue-full")
        assert int(answer.headers["retry-after"]) >= 1
    assert full in (_QUEUE - 1, _QUEUE)
    scores = [answer.json()["results"][0]["score"] for answer in done if answer.status_code == 200]
    assert scores == [expected] * (len(done) - len(refused))
    assert 'touchstone_problems_total{type="queue-full"}' not in before
    assert series(sharded)[("touchstone_problems_total", frozenset({("type", "queue-full")}))] == len(refused)
    assert inspect().json()["results"][0]["score"] == expected


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


def test_without_a_node_that_encodes_it_is_not_ready_and_says_so(server: ServerProcess, cluster: Cluster) -> None:
    for node in list(cluster.worker_nodes):
        cluster.remove_node(node, allow_graceful=False)
    answer = httpx.Response(200)
    while answer.status_code == 200:  # what the nodes worked on may be answered yet
        answer = server.client.post("/detect", data={"category": "plate"}, files=files(part(50, kind=1)))
    eventually(lambda: server.client.get("/readyz").status_code != 200, "it is ready without an encoder", 60)
    for refused in (answer, server.client.get("/readyz")):
        check_problem(refused, 503, "not-ready")
        assert refused.headers["retry-after"] == "5"
    assert server.stop() == 0
