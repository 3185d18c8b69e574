"""`POST /detect` and `touchstone evaluate` detect with one detector: neither decoding nor batching changes a score."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders import load_encoder
from indexer.evaluation.encoding import LocalEncoding
from indexer.evaluation.features import FeatureCache
from indexer.evaluation.protocols import Among, Search
from indexer.evaluation.readers import read_dataset
from indexer.evaluation.run import Subject, detect_samples
from indexer.memory import DEFAULT_CODEC
from indexer.search import choose_engine
from service.app import create_app
from service.state import AppState
from tests.helpers import trees
from tests.helpers.http_service import files, onboard, settings, wait_until_calibrated


@pytest.mark.parametrize(
    ("among", "asked", "onboarded"),
    [
        ("recognised", False, None),
        ("own", True, None),
        ("all", False, "everything"),  # the paper's pooled memory: one category for all products
    ],
)
def test_detect_and_evaluate_agree_on_score_map_and_nearest_references(
    tmp_path: Path, among: Among, asked: bool, onboarded: str | None
) -> None:
    dataset = read_dataset(trees.mvtec(tmp_path / "parts", references=5, tests=3))
    given = settings(tmp_path / "data")
    encoder = load_encoder(given.encoder_settings)
    encoding = LocalEncoding(encoder)
    memory, _ = FeatureCache(tmp_path / "cache", encoding, DEFAULT_CODEC).memory_of(
        dataset.references, lambda count: None
    )
    subject = Subject(dataset, encoding, choose_engine(encoder.device), memory, ())
    search = Search(ScoringSettings(), among).balancing()
    features = encoding.features([subject.images_of(dataset.samples)])
    evaluated = [detection for (detection,) in detect_samples(subject, [search], dataset.samples, features)]

    with TestClient(create_app(AppState.start(given)), base_url="http://localhost") as client:
        ids: list[int] = []
        for category in dataset.categories:
            images = [reference.path.read_bytes() for reference in dataset.references if reference.category == category]
            ids += onboard(client, onboarded or category, *images)
        if onboarded is not None:
            client.patch(f"/categories/{onboarded}", json={"layer_weights": [1] * len(encoder.space.layers)})
        for category in [onboarded] if onboarded else dataset.categories:
            weights = wait_until_calibrated(client, category)["layer_weights"]
            assert isinstance(weights, list)
            assert (len(set(weights)) == 1) == (onboarded is not None)
        for sample, detection in zip(dataset.samples, evaluated, strict=True):
            form = {"map": "raw"} | ({"category": sample.category} if asked else {})
            response = client.post("/detect", data=form, files=files(sample.path.read_bytes()))
            [result] = response.json()["results"]
            anomaly_map = np.load(io.BytesIO(base64.b64decode(result["map"]["data"])))
            assert np.array_equal(anomaly_map, detection.map)
            assert result["score"] == detection.measures.score
            nearest = [ids[reference.reference_id] for reference in detection.references]
            assert [reference["reference_id"] for reference in result["references"]] == nearest
