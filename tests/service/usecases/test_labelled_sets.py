"""Labelled test sets are kept, evaluated by themselves, compared, and survive a restart and a backup."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy import event
from starlette.testclient import TestClient

from indexer.catalogue.labelled_sets import NewLabelledImage
from indexer.domain.errors import EvaluationNotFound
from indexer.domain.labelled_set import Evaluation, LabelledImage, LabelledResult
from indexer.imaging.decode import decode_image
from indexer.imaging.encode import encode_jpeg, encode_png
from service.app import create_app
from service.state import AppState
from service.usecases.labelled_sets import evaluated_set, evaluated_sets, roc_points
from tests.helpers.data_folder_process import StoreParts
from tests.helpers.http_service import check_problem, files, running_service, settings, wait_until_calibrated
from tests.helpers.http_service import onboard as teach
from tests.helpers.part_images import varied
from tests.helpers.waiting import eventually


def scratch_mask() -> bytes:
    """Where `varied` scratches, as an image of half the size."""
    mask = np.zeros((72, 80, 3), np.uint8)
    cv2.line(mask, (30, 30), (45, 40), (255, 255, 255), 4)
    return encode_png(mask)


def evaluations(client: TestClient) -> list[dict[str, Any]]:
    response = client.get("/categories/disc/evaluations")
    assert response.status_code == 200, response.text
    listed: list[dict[str, Any]] = response.json()["evaluations"]
    return listed


def evaluated(client: TestClient, images: int, threshold: float | None = None) -> dict[str, Any]:
    """The latest evaluation, once it is of so many images, one of which has a mask, under this threshold."""

    def so() -> bool:
        latest = next(iter(evaluations(client)), None)
        return (
            latest is not None
            and latest["finished_at"] is not None
            and (latest["images"], latest["settings"]["threshold"]) == (images, threshold)
            and (latest["summary"]["masked"] == 1 or images < 7)
        )

    eventually(so, f"no evaluation of {images} images ended", 60)
    return evaluations(client)[0]


def test_a_category_created_anew_has_no_evaluations_of_the_removed_one_of_its_name(client: TestClient) -> None:
    teach(client, "disc", *(varied(seed) for seed in range(5)))
    fields = {"defective": "false"}
    client.post("/categories/disc/test-images", data=fields, files=files(varied(90))).raise_for_status()
    evaluated(client, 1)
    client.delete("/categories/disc").raise_for_status()
    client.post("/categories/disc/restore").raise_for_status()
    assert len(evaluations(client)) >= 1
    client.delete("/categories/disc").raise_for_status()
    teach(client, "disc", *(varied(seed) for seed in range(20, 25)))
    assert evaluations(client) == []


def test_images_are_put_into_a_test_set_that_another_replica_has_just_begun(tmp_path: Path) -> None:
    with running_service(tmp_path) as one, running_service(tmp_path, refresh_interval_ms=3_600_000) as two:
        teach(one, "disc", *(varied(seed) for seed in range(3)))
        fields = {"defective": "false"}
        added = two.post("/categories/disc/test-images", data=fields, files=files(varied(90)))
        assert added.status_code == 200, added.text


def test_a_test_set_is_evaluated_again_after_a_change_and_compared_with_before(tmp_path: Path) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as client:
        teach(client, "disc", *(varied(seed) for seed in range(24)))
        client.patch("/categories/disc", json={"false_reject_rate": 0.05})
        wait_until_calibrated(client, "disc")
        assert evaluations(client) == []
        compressed = encode_jpeg(decode_image(varied(103)), 60)  # which is judged by a calibration of its own
        good = files(*(varied(seed) for seed in range(100, 103)), compressed, varied(0), b"no image")
        added = client.post("/categories/disc/test-images", data={"defective": "false"}, files=good).json()["results"]
        assert [result["status"] for result in added] == ["added"] * 4 + ["rejected"] * 2
        assert added[4]["reason"] == "reference"
        bad = files(*(varied(seed, scratched=True) for seed in range(200, 203)))
        added_later = client.post("/categories/disc/test-images", data={"defective": "true"}, files=bad).json()
        first_bad = added_later["results"][0]["id"]
        masked = client.put(f"/categories/disc/test-images/{first_bad}/mask", files=files(scratch_mask()))
        assert masked.json()["mask"] is True
        assert len(client.get("/categories/disc/test-images").json()["images"]) == 7
        summary = evaluated(client, 7)["summary"]
        assert (summary["detected"], summary["missed"], summary["undecided"]) == (3, 0, 0)
        assert (summary["recall"], summary["auroc"]) == (1.0, 1.0)
        assert (summary["hits"], summary["masked"]) == (1, 1)
        assert client.get("/inspections").json()["inspections"] == []

        client.patch("/categories/disc", json={"threshold": 2.0})  # which lets everything pass
        latest = evaluated(client, 7, 2.0)
        assert latest["summary"]["missed"] == 3
        assert len(latest["change"]["newly_missed"]) == 3
        detail = client.get(f"/categories/disc/evaluations/{latest['id']}").json()
        assert [result["verdict"] for result in detail["results"] if result["image"]["defective"]] == ["normal"] * 3
        assert detail["roc"][-1]["recall"] <= 1.0

        for _ in range(2):  # the second time it is out already
            assert len(client.delete(f"/categories/disc/test-images/{first_bad}").json()["images"]) == 6
        assert evaluated(client, 6, 2.0)["summary"]["missed"] == 2
        known = len(evaluations(client))
        shown = client.get(f"/categories/disc/test-images/{added[0]['id']}/image", params={"side": 64})
        assert shown.headers["content-type"] == "image/jpeg"
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as restarted:
        assert len(evaluations(restarted)) == known
        check_problem(restarted.get("/categories/disc/evaluations/99"), 404, "not-found")
        check_problem(restarted.get("/categories/disc/test-images/99/image"), 404, "not-found")
        check_problem(restarted.get("/categories/nothing/evaluations"), 404, "not-found")


@pytest.mark.parametrize("defective", ["perhaps", "", "0"])
def test_an_upload_says_which_kind_its_images_are(tmp_path: Path, defective: str) -> None:
    with TestClient(create_app(AppState.start(settings(tmp_path))), base_url="http://localhost") as client:
        teach(client, "disc", varied(0))
        response = client.post("/categories/disc/test-images", data={"defective": defective}, files=files(varied(1)))
        check_problem(response, 422, "invalid-request")


def test_a_list_of_evaluations_is_answered_without_reading_what_was_detected(tmp_path: Path) -> None:
    folder = StoreParts.open(tmp_path, f"sqlite:///{tmp_path}/catalogue.sqlite")
    folder.append("disc", [b"reference"])
    sets = folder.catalogue.labelled_sets
    new = NewLabelledImage("bad.png", "0" * 64, ".png", 160, 144)
    [(image_id, _)] = sets.add("disc", [new], defective=True)
    for verdict in ("anomalous", "normal"):
        evaluation = sets.begin("disc", verdict, 1, {}, 1)
        assert evaluation is not None
        sets.record(evaluation.id, LabelledResult(image_id, 0.5, 0.4, 0.1, verdict, ({"box": [0, 0, 1, 1]},)))
        sets.finish(evaluation.id)
    with closing(sqlite3.connect(tmp_path / "catalogue.sqlite")) as database, database:
        database.execute("UPDATE evaluation_result SET regions = 'many kilobytes'")  # which is no JSON
    latest, first = evaluated_sets(folder.catalogue, "disc")
    assert (first.summary.detected, latest.summary.missed) == (1, 1)
    assert latest.change is not None
    assert latest.change.newly_missed == (image_id,)
    folder.catalogue.close()


@pytest.fixture
def under_way(tmp_path: Path) -> Iterator[tuple[StoreParts, Evaluation, list[int]]]:
    """An evaluation of two images of which one was inspected; their ids."""
    folder = StoreParts.open(tmp_path, f"sqlite:///{tmp_path}/catalogue.sqlite")
    folder.append("disc", [b"reference"])
    sets = folder.catalogue.labelled_sets
    images = [NewLabelledImage(f"{digit}.png", digit * 64, ".png", 160, 144) for digit in "01"]
    ids = [image_id for image_id, _ in sets.add("disc", images, defective=True)]
    evaluation = sets.begin("disc", "key", 1, {}, 2)
    assert evaluation is not None
    sets.record(evaluation.id, LabelledResult(ids[0], 0.5, 0.4, 0.1, "anomalous"))
    yield folder, evaluation, ids
    folder.catalogue.close()


def after_the_first_transaction(folder: StoreParts, change: Callable[[], object]) -> None:
    """Have another one change something as soon as a transaction of this catalogue has ended."""
    event.listen(folder.catalogue._transactions._reader, "commit", lambda _: change(), once=True)


def test_one_answer_about_an_evaluation_under_way_is_of_one_moment(
    under_way: tuple[StoreParts, Evaluation, list[int]],
) -> None:
    folder, evaluation, ids = under_way
    result = LabelledResult(ids[1], 0.5, 0.4, 0.1, "anomalous")
    after_the_first_transaction(folder, lambda: folder.catalogue.labelled_sets.record(evaluation.id, result))
    evaluated, results = evaluated_set(folder.catalogue, "disc", evaluation.id)
    assert (evaluated.evaluation.done, evaluated.summary.detected, len(results)) == (1, 1, 1)
    evaluated, results = evaluated_set(folder.catalogue, "disc", evaluation.id)
    assert (evaluated.evaluation.done, evaluated.summary.detected, len(results)) == (2, 2, 2)


def test_an_evaluation_that_is_given_up_while_it_is_read_is_answered_whole_or_not_at_all(
    under_way: tuple[StoreParts, Evaluation, list[int]],
) -> None:
    folder, evaluation, _ = under_way
    sets = folder.catalogue.labelled_sets
    after_the_first_transaction(folder, lambda: sets.begin("disc", "another", 2, {}, 2))
    [listed] = evaluated_sets(folder.catalogue, "disc")
    assert (listed.evaluation.id, listed.summary.detected) == (evaluation.id, 1)
    [listed] = evaluated_sets(folder.catalogue, "disc")
    assert (listed.evaluation.id > evaluation.id, listed.summary.detected) == (True, 0)
    with pytest.raises(EvaluationNotFound):
        evaluated_set(folder.catalogue, "disc", evaluation.id)


def test_the_roc_counts_images_above_each_distinct_score() -> None:
    scored = [(0.1, False), (0.3, True), (0.3, False), (0.5, True), (None, True)]
    results = [
        (
            LabelledImage(index, "disc", "p.png", defective, "0" * 64, ".png", 4, 3, datetime.now(UTC)),
            LabelledResult(index, score, 0.4, None, None),
        )
        for index, (score, defective) in enumerate(scored)
    ]
    assert roc_points(results) == [(0.5, 0.0, 0.0), (0.3, 0.0, 0.5), (0.1, 0.5, 1.0)]
    assert roc_points(results[:1]) == []
