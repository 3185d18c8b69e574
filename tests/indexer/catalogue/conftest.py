"""A catalogue in the database of the test's choice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from indexer.catalogue.catalogue import Catalogue
from tests.helpers.catalogue_rows import SPACE


@pytest.fixture
def catalogue(database: str) -> Iterator[Catalogue]:
    opened = Catalogue.open(database)
    yield opened
    opened.close()


@pytest.fixture
def memory_id(catalogue: Catalogue) -> int:
    return catalogue.memories.ensure(*SPACE).id
