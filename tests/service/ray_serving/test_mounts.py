"""A node that lacks the shared folder is named, and nothing is served or indexed with it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.helpers.commands import opened, references, touchstone
from tests.helpers.part_folders import folder_of
from tests.helpers.part_images import part
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.ray_cluster import node_without, ray_cluster
from tests.helpers.server_process import ServerProcess

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plant") / "shared"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Iterator[Cluster]:
    with ray_cluster(0) as cluster, node_without(cluster, shared, cpus=2):
        yield cluster


def test_images_that_a_node_lacks_end_an_indexing_instead_of_being_rejected(
    cluster: Cluster, shared: Path, tmp_path: Path
) -> None:
    parts = folder_of(shared / "parts", ".", disc=3)
    done = touchstone("index", parts, "--ray", cluster.address, data=tmp_path / "data")
    assert done.exit_code == 2, done.output
    line = done.stderr.splitlines()[-1]
    assert line.endswith(f"node {socket.gethostname()} lacks the images in {parts}/disc: mount it there, too")
    reference_store = opened(tmp_path / "data")
    assert references(reference_store) == {}
    reference_store.close()


@pytest.mark.parametrize("taught", [False, True])
def test_a_node_without_the_data_folder_is_refused(
    cluster: Cluster, shared: Path, postgres: PostgresServer, taught: bool
) -> None:
    """Also of a new one: as empty as the folder there, which would become another data folder."""
    data = shared / f"data-{taught}"
    settings = {"ENCODER": "filterbank", "DATABASE_URL": postgres.new_database(migrated=True)}
    if taught:
        with ServerProcess(data, **settings).wait_until_live() as alone:
            alone.teach("disc", part(0))
    refused = ServerProcess(data, "--ray", cluster.address, **settings)
    assert refused.process.wait(120) == 2
    said = refused.log.read_text().splitlines()[-1]
    assert said.startswith("touchstone: the Ray cluster serves nothing: ")
    assert said.endswith(f"node {socket.gethostname()} lacks the data folder {data}: mount it there, too")
