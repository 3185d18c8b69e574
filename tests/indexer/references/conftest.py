"""Data folders that stores are opened on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.new_catalogue import new_data_folder


@pytest.fixture(autouse=True)
def empty(tmp_path: Path) -> None:
    """Each test's folder is a data folder with nothing in it."""
    new_data_folder(tmp_path)
