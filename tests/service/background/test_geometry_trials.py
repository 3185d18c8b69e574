"""Other geometries are tried with the references that are left."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from service.app import create_app
from service.background.geometry_trials import GeometryTrials
from service.inference.decoder import choose_preprocessing
from service.inference.resources import InferenceResources
from service.state import AppState
from tests.helpers.http_service import files, settings
from tests.helpers.part_images import varied


def test_a_geometry_is_not_tried_once_no_reference_is_left(tmp_path: Path) -> None:
    state = AppState.start(settings(tmp_path, refresh_interval_ms=3_600_000))
    with TestClient(create_app(state), base_url="http://localhost") as client:
        taught = client.post("/references", data={"category": "disc", "cells": "30"}, files=files(varied(0), varied(1)))
        ids = [result["reference_id"] for result in taught.json()["results"]]
        store, encoder = state.reference_store, state.encoder
        limits, preprocess = state.settings.image_limits, choose_preprocessing(encoder, state.settings)
        trials = GeometryTrials(InferenceResources(state.worker, encoder, state.engine, store, preprocess, limits))
        published = store.published
        [(cells, geometry), *_] = trials.others(published, "disc", 1).items()
        assert trials.encode(published, "disc", cells, geometry, lambda: None) is not None
        store.catalogue.references.remove(ids)  # by another replica, of which this one has not heard
        assert trials.encode(published, "disc", cells, geometry, lambda: None) is None
