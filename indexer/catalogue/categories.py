"""Categories and their settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, cast

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from indexer.catalogue.audit import note
from indexer.catalogue.calibrations import forget_calibrations
from indexer.catalogue.coreset_rows import forget_coresets
from indexer.catalogue.geometries import forget_geometries
from indexer.catalogue.labelled_sets import forget_evaluations
from indexer.catalogue.live_references import LIVE, RESTORABLE, added_again, mark_removed, restorable
from indexer.catalogue.queries import now
from indexer.catalogue.tables import (
    AdaptationRow,
    CalibrationRow,
    CategoryRow,
    CoresetRow,
    DriftRow,
    LabelledImageRow,
    ReferenceRow,
    TuningRow,
)
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.versions import commit_version
from indexer.domain.bit_depth import FULL
from indexer.domain.category import Category, CategorySettings, RemovedCategory, SettingsChanges
from indexer.domain.encoding import Encoding
from indexer.domain.errors import CategoryNotFound
from indexer.domain.reading import Reading
from indexer.domain.reference import NewReference, Removed


class Categories:
    """The categories of one data folder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def list(self) -> tuple[Category, ...]:
        """All categories by name."""
        with self._transactions.reading() as connection:
            return tuple(_category(row) for row in connection.execute(_categories()))

    def settings(self) -> dict[str, CategorySettings]:
        """Every category's settings, by name; unlike `list`, without counting references."""
        statement = select(CategoryRow.name, CategoryRow.settings).where(CategoryRow.removed_at.is_(None))
        with self._transactions.reading() as connection:
            return {row.name: CategorySettings.from_json(row.settings) for row in connection.execute(statement)}

    def get(self, name: str) -> Category:
        """One category. Raises CategoryNotFound."""
        with self._transactions.reading() as connection:
            return _find(connection, name)

    def update_settings(self, name: str, changes: SettingsChanges) -> Category:
        """Change some settings of a category. Raises CategoryNotFound, and ValueError for values out of range."""
        with self._transactions.writing() as connection:
            row = _find(connection, name)
            settings = replace(row.settings, **changes)
            if settings != row.settings:
                connection.execute(
                    update(CategoryRow).where(CategoryRow.name == name).values(settings=asdict(settings))
                )
                version = commit_version(connection, "settings", detail={"category": name, "changed": sorted(changes)})
                before, after = asdict(row.settings), asdict(settings)
                different = [key for key in after if before[key] != after[key]]
                note(
                    connection,
                    "settings.changed",
                    name,
                    {key: before[key] for key in different},
                    {**{key: after[key] for key in different}, "version": version},
                )
            return replace(row, settings=settings)

    def remove(self, name: str) -> Removed:
        """Take a category out with all its references and its test set. Raises CategoryNotFound."""
        with self._transactions.writing() as connection:
            _find(connection, name)
            category = select(CategoryRow.id).where(CategoryRow.name == name).scalar_subquery()
            inside = ReferenceRow.category_id == category
            ids = tuple(connection.scalars(select(ReferenceRow.id).where(inside, LIVE).order_by(ReferenceRow.id)))
            version = commit_version(connection, "removed", detail={"category": name, "references": list(ids)})
            mark_removed(connection, version, inside)
            # A restore that was cut off left some removed: they can be restored with the others.
            earlier = select(CategoryRow.removed_version).where(CategoryRow.name == name).scalar_subquery()
            left = (inside, ReferenceRow.removed_version == earlier, ~added_again())
            connection.execute(update(ReferenceRow).where(*left).values(removed_version=version))
            forget_calibrations(connection, CalibrationRow.category_id == category)
            connection.execute(delete(AdaptationRow).where(AdaptationRow.category_id == category))
            forget_coresets(connection, CoresetRow.category_id == category)
            connection.execute(delete(DriftRow).where(DriftRow.category_id == category))
            connection.execute(delete(TuningRow).where(TuningRow.category_id == category))
            at = now()
            own = (LabelledImageRow.category_id == category, LabelledImageRow.removed_at.is_(None))
            connection.execute(update(LabelledImageRow).where(*own).values(removed_at=at))
            removal = {"removed_at": at, "removed_version": version}
            connection.execute(update(CategoryRow).where(CategoryRow.name == name).values(**removal))
            note(connection, "category.removed", name, {"references": list(ids)}, {"version": version})
            return Removed(version, ids)

    def removed(self) -> tuple[RemovedCategory, ...]:
        """Categories that can be restored, by name."""
        with self._transactions.reading() as connection:
            return tuple(RemovedCategory(*row) for row in connection.execute(_removed_categories()))

    def restore(self, name: str) -> None:
        """Restore a removed category with its settings and test set, without references; a live one is unchanged.

        Raises CategoryNotFound, also 30 days after it was removed.
        """
        with self._transactions.writing() as connection:
            removed = connection.scalars(_removed_categories().where(CategoryRow.name == name)).one_or_none()
            if removed is None:
                _find(connection, name)
                return
            this = CategoryRow.name == name
            category, at = connection.execute(select(CategoryRow.id, CategoryRow.removed_at).where(this)).one()
            with_it = (LabelledImageRow.category_id == category, LabelledImageRow.removed_at == at)
            connection.execute(update(LabelledImageRow).where(*with_it).values(removed_at=None))
            connection.execute(update(CategoryRow).where(this).values(removed_at=None))
            version = commit_version(connection, "settings", detail={"category": name, "changed": []})
            note(connection, "category.restored", name, after={"version": version})


def ensure_category(connection: Connection, name: str) -> int:
    """The id of a category; one that is new, or was removed, starts with the default settings."""
    row = connection.execute(
        select(CategoryRow.id, CategoryRow.removed_at).where(CategoryRow.name == name)
    ).one_or_none()
    fresh = {"settings": asdict(CategorySettings()), "created_at": now(), "removed_at": None, "removed_version": None}
    if row is None:
        return connection.execute(insert(CategoryRow).values(name=name, **fresh).returning(CategoryRow.id)).scalar_one()
    if row.removed_at is not None:
        connection.execute(update(CategoryRow).where(CategoryRow.id == row.id).values(**fresh))
        forget_geometries(connection, row.id)
        forget_evaluations(connection, row.id)
    return cast(int, row.id)


def check_not_removed(connection: Connection, name: str) -> None:
    """Raise CategoryNotFound when the category was removed, for those who would begin it anew by mistake."""
    removed = select(CategoryRow.id).where(CategoryRow.name == name, CategoryRow.removed_at.is_not(None))
    if connection.scalars(removed).one_or_none() is not None:
        raise CategoryNotFound(f"the category {name!r} was removed")


def decide_depth(connection: Connection, category_id: int, references: Iterable[NewReference]) -> dict[str, int]:
    """Let the first references of 16 bits a channel decide how many of them are used; returns what was decided."""
    stored = connection.execute(select(CategoryRow.settings).where(CategoryRow.id == category_id)).scalar_one()
    if stored.get("bit_depth") is not None:
        return {}
    for reference in references:
        if reference.encoding is not None and Encoding.from_json(reference.encoding).bits == 16:
            decided = {"bit_depth": Reading.from_json(reference.reading).depth or FULL}
            connection.execute(
                update(CategoryRow).where(CategoryRow.id == category_id).values(settings={**stored, **decided})
            )
            return {**decided}
    return {}


def _removed_categories() -> Select[Any]:
    """As `RemovedCategory` has it."""
    inside = (ReferenceRow.category_id == CategoryRow.id, *restorable())
    references = select(func.count()).where(*inside).correlate(CategoryRow).scalar_subquery()
    return (
        select(CategoryRow.name, CategoryRow.removed_at, references)
        .where(CategoryRow.removed_at > now() - RESTORABLE)
        .order_by(CategoryRow.name)
    )


def _find(connection: Connection, name: str) -> Category:
    row = connection.execute(_categories().where(CategoryRow.name == name)).one_or_none()
    if row is None:
        raise CategoryNotFound(f"there is no category {name!r}")
    return _category(row)


def _category(row: Row[Any]) -> Category:
    return Category(row.name, CategorySettings.from_json(row.settings), row.created_at, row.references)


def _categories() -> Select[Any]:
    live = (
        select(func.count())
        .where(ReferenceRow.category_id == CategoryRow.id, LIVE)
        .correlate(CategoryRow)
        .scalar_subquery()
    )
    return (
        select(CategoryRow.__table__, live.label("references"))
        .where(CategoryRow.removed_at.is_(None))
        .order_by(CategoryRow.name)
    )
