"""A second process on a data folder that compacts its segments continuously until SIGKILL."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from tests.helpers.forked import ForkedProcess

_AT_WORK = "compacting"


class Compactor:
    """The process. database_url: None for SQLite in the folder."""

    def __init__(self, data: Path, database_url: str | None) -> None:
        self.log = data.parent / f"{data.name}-compactor.log"
        self.log.unlink(missing_ok=True)
        self.process = ForkedProcess(_compact, data, database_url, environment=os.environ, output=self.log)

    def wait_until_at_work(self) -> None:
        """Return once it has compacted, or found nothing to compact. AssertionError with its log if it ends first."""
        while not (self.log.exists() and self.log.read_text() == _AT_WORK):
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL, at once. AssertionError with its log if it had ended by itself."""
        assert self.process.poll() is None, self.log.read_text()
        self.process.kill()
        self.process.wait()


def _compact(data: Path, database_url: str | None) -> None:
    from indexer.catalogue.catalogue import Catalogue
    from indexer.catalogue.data_folder import DataFolder
    from indexer.domain.errors import CorruptSegmentError, SegmentsChanged
    from indexer.encoders.base import FeatureSpace
    from indexer.references.reference_store import ReferenceStore

    catalogue = Catalogue.open(DataFolder.existing(data, database_url).database)
    record = catalogue.memories.active()
    catalogue.close()
    assert record is not None
    space = FeatureSpace.from_json(record.space_json)
    reference_store = ReferenceStore.open(data, space, codec=record.codec, database_url=database_url)
    for turn in itertools.count():
        try:
            reference_store.compact()
            reference_store.refresh()
        except (CorruptSegmentError, SegmentsChanged):
            pass  # the server's own compaction was faster
        if turn == 0:
            print(_AT_WORK, end="", flush=True)
        time.sleep(0.005)
