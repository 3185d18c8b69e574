"""`--ray`: nodes of a cluster encode, with the result of one process, whatever is killed meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from indexer.cluster import connected
from indexer.domain.bit_depth import FULL
from indexer.domain.errors import ClusterError
from indexer.domain.reading import Reading
from indexer.encoders import EncoderSettings
from indexer.imaging.decode import ImageLimits
from indexer.jobs.bulk_encoding import CategoryPlan
from indexer.jobs.ray_encoding import RayEncoding
from tests.helpers import trees
from tests.helpers.commands import opened, references, started, touchstone
from tests.helpers.forked import ForkedProcess
from tests.helpers.part_folders import folder_of
from tests.helpers.ray_cluster import kill_worker, ray_cluster
from tests.helpers.waiting import eventually

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = folder_of(tmp_path_factory.mktemp("ray") / "parts", ".", disc=120, plate=10)
    (parts / "disc" / "disc-009.png").write_bytes(b"no image")
    (parts / "plate" / "copy.png").write_bytes((parts / "plate" / "plate-003.png").read_bytes())
    return parts


def segments(data: Path) -> Counter[str]:
    """The SHA-256 of every segment file's bytes."""
    reference_store = opened(data)  # which deletes what a killed command had not committed
    assert len(references(reference_store)) == len(reference_store.memory) == 129
    reference_store.close()
    return Counter(sha256(path.read_bytes()).hexdigest() for path in data.glob("segments/*.segment"))


def wait_for(happened: Callable[[], bool], process: ForkedProcess) -> None:
    while not happened():
        assert process.poll() is None, "it ended before anything could be killed"
        time.sleep(0.02)


def test_a_node_with_another_encoder_is_named(tmp_path: Path, parts: Path, cluster: Cluster) -> None:
    reference_store = opened(tmp_path / "data")
    settings = EncoderSettings("filterbank", resize=128, crop=112, device="cpu")
    space = replace(reference_store.memory.space, fingerprint="0" * 64)
    plan = CategoryPlan(0, "disc", (parts / "disc" / "disc-000.png",), space.global_geometry, Reading(FULL))
    with (
        connected(cluster.address),
        pytest.raises(ClusterError, match=r"node \S+ loads .*, not touchstone-filterbank \(0{12}\)"),
    ):
        list(RayEncoding(settings, space, ImageLimits()).encode([plan], reference_store))
    reference_store.close()


def test_an_evaluation_on_a_cluster_has_the_figures_of_one_process_though_a_worker_is_killed(
    tmp_path: Path, cluster: Cluster
) -> None:
    tree = trees.mvtec(tmp_path / "parts", references=16, tests=5)
    command = ("evaluate", tree, "--protocol", "single-class", "--false-reject-rate", "0.1")
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert touchstone(*command, "--no-plots", "--out", alone, data=tmp_path).exit_code == 0

    def kill_when_references_are_stored() -> None:
        eventually(lambda: list(out.glob("cache/*/segments/*.segment")), "no reference was stored", 60)
        eventually(lambda: kill_worker("MapWorker"), "no worker encoded images", 60)

    with ThreadPoolExecutor(1) as killer:
        killed = killer.submit(kill_when_references_are_stored)
        done = touchstone(*command, "--ray", cluster.address, "--out", out, data=tmp_path)
        killed.result()
    assert done.exit_code == 0, done.stderr
    for name in ("report.json", "report.md"):
        assert (out / name).read_bytes() == (alone / name).read_bytes()
    assert encoded_in(out / "cache") == encoded_in(alone / "cache")
    assert (out / "plots/sheet-disc.png").is_file()


def encoded_in(cache: Path) -> Counter[str]:
    """The SHA-256 of the segments and outcomes that an evaluation stores."""
    files = [*cache.glob("*/segments/*.segment"), *cache.glob("outcomes/*.json")]
    assert len(files) == 3
    return Counter(sha256(path.read_bytes()).hexdigest() for path in files)


def test_a_cluster_stores_what_one_process_does_though_worker_node_and_command_are_killed(
    tmp_path: Path, parts: Path, cluster: Cluster
) -> None:
    alone, data = tmp_path / "alone", tmp_path / "data"
    assert touchstone("index", parts, data=alone).exit_code == 1

    def committed(count: int) -> Callable[[], bool]:
        return lambda: len(list(data.glob("segments/*.segment"))) >= count

    process = started("index", parts, "--ray", cluster.address, data=data)
    wait_for(committed(1), process)
    assert kill_worker("MapWorker")
    wait_for(committed(2), process)
    process.kill()
    process.wait()
    process = started("index", parts, "--ray", cluster.address, data=data)
    wait_for(committed(3), process)
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert process.poll() is None
    assert process.wait(120) == 1
    assert segments(data) == segments(alone)


@pytest.mark.parametrize("command", ["index", "evaluate"])
def test_a_cluster_that_is_not_there_is_named_in_one_line(tmp_path: Path, command: str) -> None:
    tree = trees.mvtec(tmp_path / "parts", references=1, tests=1)
    done = touchstone(command, tree, "--ray", "127.0.0.1:9", data=tmp_path / "data")
    assert done.exit_code == 2
    assert done.stderr == "touchstone: no Ray cluster at 127.0.0.1:9: [Errno 111] Connection refused\n"
