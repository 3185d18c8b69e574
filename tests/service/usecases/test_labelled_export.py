"""Labelled images are exported as a data set that `touchstone evaluate` reads back; what is missing is named."""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from indexer.domain.retention import RetentionGroup, RetentionLimits
from indexer.domain.stored_file import original_path
from indexer.evaluation.readers import read_dataset
from indexer.history.policy import RetentionPolicy
from indexer.history.pruner import Pruner
from tests.helpers.commands import touchstone
from tests.helpers.http_service import check_problem, files, inspect, onboard, running_service, say
from tests.helpers.part_images import part
from tests.helpers.trees import mask_png

CLASSES = ["scratch/deep", "good", "划痕"]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with two products and labelled inspections of one of them; no image of the other is labelled."""
    with running_service(tmp_path_factory.mktemp("data")) as client:
        onboard(client, "disc", *(part(seed) for seed in range(9)))
        onboard(client, "plate", *(part(seed, kind=1) for seed in range(3)))
        client.patch("/categories/disc", json={"defect_classes": CLASSES, "threshold": 0.05}).raise_for_status()
        yield client


def unpacked(response: httpx.Response, folder: Path) -> list[dict[str, Any]]:
    """The manifest of an archive that is unpacked into a folder."""
    assert response.status_code == 200, response.text
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def evaluated(folder: Path, out: Path) -> str:
    """What `touchstone evaluate` says of a folder; it uses all of it."""
    arguments = ("--encoder", "filterbank", "--protocol", "single-class", "--no-plots", "--out", out)
    done = touchstone("evaluate", folder, *arguments, data=out)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_labelled_inspections_are_evaluated_after_an_export(plant: TestClient, tmp_path: Path) -> None:
    check_problem(plant.get("/inspections/dataset.zip"), 409, "conflict")
    for seed in (100, 101):
        fine = inspect(plant, part(seed), category="disc", station="line")
        assert say(plant, fine, "good", confirm=True).status_code == 200
    for index, name in enumerate((*CLASSES, None)):
        bad = inspect(plant, part(200 + index, scratched=True), category="disc", station="line")
        assert say(plant, bad, "defect", defect_class=name, comment="n").status_code == 200
    plant.patch("/categories/disc", json={"threshold": 1.9}).raise_for_status()
    escape = inspect(plant, part(300, scratched=True), category="disc", station="line")
    assert (escape["verdict"], escape["regions"]) == ("normal", [])
    say(plant, escape, "defect", defect_class="划痕")
    inspect(plant, part(301), category="disc", station="line")  # which nobody labelled

    manifest = unpacked(plant.get("/inspections/dataset.zip", params={"station": "line"}), tmp_path / "set")
    placed = Counter(Path(line["path"]).parent.as_posix() for line in manifest if line["path"])
    assert placed == {
        "disc/train/good": 9,
        "disc/test/good": 2,
        "disc/test/scratch%2Fdeep": 1,
        "disc/test/good_": 1,
        "disc/test/划痕": 2,
        "disc/test/defect": 1,
    }
    left_out = [line for line in manifest if line["path"] is None]
    assert [(line["source"], line["left_out"]) for line in left_out] == 2 * [("reference", "It is a test image.")]
    dataset = read_dataset(tmp_path / "set")
    assert [sample.path.stem for sample in dataset.samples if sample.defective and sample.mask is None] == [
        escape["id"]
    ]
    said = evaluated(tmp_path / "set", tmp_path / "out")
    assert "1 categories, 9 references, 7 test images, 5 of them defective, 4 with a mask" in said


def test_what_cannot_be_included_is_named_in_the_manifest(plant: TestClient, tmp_path: Path) -> None:
    pruned, lost, stored = (
        inspect(plant, part(seed, scratched=True), category="disc", station="lost")["id"] for seed in (400, 401, 402)
    )
    orphaned = inspect(plant, part(403, kind=1), category="plate", station="lost")["id"]
    for inspection_id in (pruned, lost, stored, orphaned):
        say(plant, {"id": inspection_id}, "defect").raise_for_status()
    plant.delete("/categories/plate").raise_for_status()
    state = plant.app.state.app_state  # type: ignore[attr-defined]
    image = state.reference_store.catalogue.inspections.get(lost)
    (state.settings.data / original_path(image.image_sha256, image.image_suffix)).unlink()
    policy = RetentionPolicy(defect_images=RetentionLimits(count=2))
    [group] = [
        usage.group
        for usage in state.reference_store.catalogue.retention.usage()
        if usage.group == RetentionGroup("disc", True)
    ]
    for _ in Pruner(state.reference_store.folder, state.reference_store.catalogue, policy, 0).prune_beyond_limits(
        [group]
    ):
        pass
    manifest = unpacked(plant.get("/inspections/dataset.zip", params={"station": "lost"}), tmp_path)
    reasons = {line["id"]: line["left_out"] for line in manifest if line["source"] == "inspection"}
    assert reasons == {
        pruned: "Its image was pruned.",
        lost: "Its stored image is missing or damaged.",
        stored: None,
        orphaned: "Its category has no references.",
    }


def test_a_test_set_is_evaluated_after_an_export(plant: TestClient, tmp_path: Path) -> None:
    route = "/categories/disc/test-images"
    check_problem(plant.get("/categories/disc/test-set.zip"), 409, "conflict")
    check_problem(plant.get("/categories/none/test-set.zip"), 404, "not-found")
    added = {}
    for defective, seeds in ((False, (500, 501)), (True, (502, 503))):
        body = files(*(part(seed, scratched=defective) for seed in seeds))
        response = plant.post(route, data={"defective": str(defective).lower()}, files=body)
        added[defective] = [result["id"] for result in response.json()["results"]]
    plant.put(f"{route}/{added[True][0]}/mask", files=files(mask_png())).raise_for_status()
    manifest = unpacked(plant.get("/categories/disc/test-set.zip"), tmp_path / "set")
    references = plant.get("/categories/disc").json()["references"]
    assert Counter(line["source"] for line in manifest) == {"test image": 4, "reference": references}
    said = evaluated(tmp_path / "set", tmp_path / "out")
    assert "4 test images, 2 of them defective, 1 with a mask" in said
