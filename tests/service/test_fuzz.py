"""Every response to any request conforms to the OpenAPI document."""

from __future__ import annotations

from pathlib import Path

from tests.torture.fuzz import fuzz


def test_answers_to_generated_requests_are_as_described(tmp_path: Path) -> None:
    fuzz(tmp_path, examples=2)
