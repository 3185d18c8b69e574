"""The catalogue: one database of a data folder, as transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import URL, Engine

from indexer.catalogue import migrations
from indexer.catalogue.adaptations import Adaptations
from indexer.catalogue.api_keys import ApiKeys
from indexer.catalogue.audit import AuditTrail
from indexer.catalogue.calibrations import Calibrations
from indexer.catalogue.categories import Categories
from indexer.catalogue.coresets import Coresets
from indexer.catalogue.corrections import Corrections
from indexer.catalogue.database import open_database
from indexer.catalogue.dump import Dump
from indexer.catalogue.engine import connect, migration_lock
from indexer.catalogue.geometries import Geometries
from indexer.catalogue.identity import Identity
from indexer.catalogue.inspections import Inspections
from indexer.catalogue.labelled_sets import LabelledSets
from indexer.catalogue.memories import Memories
from indexer.catalogue.pairing import check_pair
from indexer.catalogue.references import References
from indexer.catalogue.retention import Retention
from indexer.catalogue.review import ReviewQueue
from indexer.catalogue.segments import Segments
from indexer.catalogue.stations import Stations
from indexer.catalogue.stored_files import StoredFiles
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.tunings import Tunings
from indexer.catalogue.versions import version_of

if TYPE_CHECKING:
    from indexer.catalogue.data_folder import DataFolder  # whose files are no matter of the catalogue's own


class Catalogue:
    """The database of one data folder, safe for several threads and processes at once.

    Each subject has a part of its own, and every method of a part is one transaction. A write has happened, durably,
    when its method returns. Each commit that changes what detection sees gets the next version number, without gaps, in
    the order of commits. Any method may raise CatalogueBusy and CatalogueUnavailable, and any write StorageFull; none
    leaves a trace.
    """

    def __init__(self, engine: Engine) -> None:
        self._transactions = Transactions(engine)
        self.identity = Identity(self._transactions)
        self.corrections = Corrections(self._transactions)
        self.memories = Memories(self._transactions)
        self.references = References(self._transactions)
        self.segments = Segments(self._transactions)
        self.geometries = Geometries(self._transactions)
        self.coresets = Coresets(self._transactions)
        self.stored_files = StoredFiles(self._transactions)
        self.dump = Dump(self._transactions)
        self.categories = Categories(self._transactions)
        self.calibrations = Calibrations(self._transactions)
        self.adaptations = Adaptations(self._transactions)
        self.labelled_sets = LabelledSets(self._transactions)
        self.tunings = Tunings(self._transactions)
        self.inspections = Inspections(self._transactions)
        self.review = ReviewQueue(self._transactions)
        self.retention = Retention(self._transactions)
        self.stations = Stations(self._transactions)
        self.api_keys = ApiKeys(self._transactions)
        self.audit = AuditTrail(self._transactions)

    @classmethod
    def open(cls, url: str | URL) -> Catalogue:
        """The catalogue in the database at an SQLAlchemy url: see `open_database`."""
        return cls(open_database(url))

    @classmethod
    def of(cls, folder: DataFolder) -> Catalogue:
        """The catalogue of a data folder. Raises as `open`, and CatalogueMismatch where it is another folder's.

        Whose files would be deleted as orphans, or be missing from a backup.
        """
        catalogue = cls.open(folder.database)
        try:
            check_pair(folder, catalogue)
        except BaseException:
            catalogue.close()
            raise
        return catalogue

    @staticmethod
    def migrate(url: str | URL) -> None:
        """Bring the database to this version's schema, from nothing or an older one. SchemaMismatch if it is newer."""
        engine = connect(url)
        try:
            with migration_lock(engine):
                migrations.upgrade(engine)
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close the connections."""
        self._transactions.close()

    @property
    def answering(self) -> bool:
        """Whether the last query was answered, so that callers that can do without need not wait for a timeout."""
        return self._transactions.answering

    def version(self) -> int:
        """The version of the newest snapshot; 0 before anything happened."""
        with self._transactions.reading() as connection:
            return version_of(connection)
