"""Labelled test sets, and their evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from indexer.catalogue.audit import note
from indexer.catalogue.queries import batches, id_of_category, now
from indexer.catalogue.tables import CategoryRow, EvaluationResultRow, EvaluationRow, LabelledImageRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.errors import EvaluationNotFound, LabelledImageNotFound
from indexer.domain.json_types import JsonObject
from indexer.domain.labelled_set import Evaluation, LabelledImage, LabelledOutcome, LabelledResult

MAX_EVALUATIONS = 20  # of one category that are kept
_LIVE = LabelledImageRow.removed_at.is_(None)


@dataclass(frozen=True)
class NewLabelledImage:
    """An image about to be in a test set, its file stored already. width, height: px."""

    filename: str
    image_sha256: str
    image_suffix: str
    width: int
    height: int


ImageResult: TypeAlias = tuple[LabelledImage, LabelledResult]


@dataclass(frozen=True)
class EvaluationWithOutcomes:
    """An evaluation, and what counts of each image inspected so far, in order of id."""

    evaluation: Evaluation
    outcomes: tuple[LabelledOutcome, ...]


@dataclass(frozen=True)
class EvaluationInFull:
    """An evaluation, and what was detected in each image so far. before: outcomes of the one before, if any."""

    evaluated: EvaluationWithOutcomes
    before: tuple[LabelledOutcome, ...] | None
    results: tuple[ImageResult, ...]


class LabelledSets:
    """The test sets of one data folder's categories. Images that were removed stay known to earlier evaluations."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def images(self, category: str) -> tuple[LabelledImage, ...]:
        """The live images of a category's test set, in order of id. CategoryNotFound."""
        with self._transactions.reading() as connection:
            category_id = id_of_category(connection, category)
            rows = connection.execute(_images().where(LabelledImageRow.category_id == category_id, _LIVE))
            return tuple(map(_image, rows))

    def all_images(self) -> dict[str, tuple[LabelledImage, ...]]:
        """The live images of every test set, by category."""
        sets: dict[str, list[LabelledImage]] = {}
        with self._transactions.reading() as connection:
            for row in connection.execute(_images().where(_LIVE, CategoryRow.removed_at.is_(None))):
                sets.setdefault(row.category, []).append(_image(row))
        return {category: tuple(images) for category, images in sets.items()}

    def image(self, category: str, image_id: int) -> LabelledImage:
        """One live image. CategoryNotFound, LabelledImageNotFound."""
        with self._transactions.reading() as connection:
            return _find(connection, id_of_category(connection, category), image_id)

    def add(self, category: str, images: Sequence[NewLabelledImage], *, defective: bool) -> list[tuple[int, bool]]:
        """Put images into a test set, together. Returns the id of each, and whether it is new or has another label now.

        An image that is in the set already keeps its mask. CategoryNotFound.
        """
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            outcomes = [_put(connection, category_id, image, defective=defective) for image in images]
            if changed := [image_id for image_id, new in outcomes if new]:
                note(connection, "test-set.added", category, after={"images": changed, "defective": defective})
            return outcomes

    def set_mask(self, category: str, image_id: int, sha256: str, suffix: str) -> LabelledImage:
        """Keep a mask that is not black where an image's defect is. CategoryNotFound, LabelledImageNotFound."""
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            _find(connection, category_id, image_id)
            values = {"mask_sha256": sha256, "mask_suffix": suffix}
            connection.execute(update(LabelledImageRow).where(LabelledImageRow.id == image_id).values(**values))
            note(connection, "test-set.masked", category, after={"images": [image_id]})
            return _find(connection, category_id, image_id)

    def remove(self, category: str, image_id: int) -> None:
        """Take an image out of a test set; one that is out stays so. CategoryNotFound, LabelledImageNotFound."""
        with self._transactions.writing() as connection:
            these = (
                LabelledImageRow.category_id == id_of_category(connection, category),
                LabelledImageRow.id == image_id,
            )
            if connection.scalar(select(LabelledImageRow.id).where(*these, LabelledImageRow.removed_at.is_not(None))):
                return
            _find(connection, id_of_category(connection, category), image_id)
            connection.execute(update(LabelledImageRow).where(LabelledImageRow.id == image_id).values(removed_at=now()))
            note(connection, "test-set.removed", category, before={"images": [image_id]})

    def begin(self, category: str, key: str, version: int, settings: JsonObject, images: int) -> Evaluation | None:
        """The evaluation with this key, to be carried on, or a new one; None where the latest has it and is finished.

        What was begun with another key and not finished is given up. CategoryNotFound.
        """
        with self._transactions.writing() as connection:
            category_id = id_of_category(connection, category)
            own = EvaluationRow.category_id == category_id
            latest = connection.execute(_evaluations().where(own).limit(1)).one_or_none()
            if latest is not None and latest.key == key:
                return None if latest.finished_at is not None else _evaluation(latest)
            unfinished = select(EvaluationRow.id).where(own, EvaluationRow.finished_at.is_(None))
            outdated = select(EvaluationRow.id).where(own).order_by(EvaluationRow.id.desc()).offset(MAX_EVALUATIONS - 1)
            _forget(connection, [*connection.scalars(unfinished), *connection.scalars(outdated)])
            values = {"key": key, "version": version, "settings": settings, "images": images, "started_at": now()}
            connection.execute(insert(EvaluationRow).values(category_id=category_id, **values))
            return _evaluation(connection.execute(_evaluations().where(own).limit(1)).one())

    def record(self, evaluation_id: int, result: LabelledResult) -> bool:
        """Keep what was detected in one image; False where the evaluation was given up meanwhile."""
        with self._transactions.writing() as connection:
            if connection.scalar(select(EvaluationRow.id).where(EvaluationRow.id == evaluation_id)) is None:
                return False
            these = (
                EvaluationResultRow.evaluation_id == evaluation_id,
                EvaluationResultRow.image_id == result.image_id,
            )
            if connection.scalar(select(EvaluationResultRow.image_id).where(*these)) is None:  # not by another replica
                values = {**asdict(result), "regions": list(result.regions)}
                connection.execute(insert(EvaluationResultRow).values(evaluation_id=evaluation_id, **values))
            return True

    def finish(self, evaluation_id: int) -> None:
        """Say that every image was inspected."""
        with self._transactions.writing() as connection:
            open_ = (EvaluationRow.id == evaluation_id, EvaluationRow.finished_at.is_(None))
            connection.execute(update(EvaluationRow).where(*open_).values(finished_at=now()))

    def evaluations(self, category: str) -> tuple[EvaluationWithOutcomes, ...]:
        """The evaluations of a category's test set, newest first, and how each went so far. CategoryNotFound."""
        with self._transactions.reading() as connection:
            own = EvaluationRow.category_id == id_of_category(connection, category)
            return _with_outcomes(connection, _evaluations().where(own))

    def evaluation_in_full(self, category: str, evaluation_id: int) -> EvaluationInFull:
        """One evaluation as it is at one moment. CategoryNotFound, EvaluationNotFound."""
        with self._transactions.reading() as connection:
            own = (EvaluationRow.category_id == id_of_category(connection, category), EvaluationRow.id <= evaluation_id)
            latest = _with_outcomes(connection, _evaluations().where(*own).limit(2))
            if not latest or latest[0].evaluation.id != evaluation_id:
                raise _not_found(category, evaluation_id)
            before = latest[1].outcomes if len(latest) > 1 else None
            return EvaluationInFull(latest[0], before, _results(connection, evaluation_id))

    def evaluation(self, category: str, evaluation_id: int) -> Evaluation:
        """One evaluation. CategoryNotFound, EvaluationNotFound."""
        with self._transactions.reading() as connection:
            own = (EvaluationRow.category_id == id_of_category(connection, category), EvaluationRow.id == evaluation_id)
            row = connection.execute(_evaluations().where(*own)).one_or_none()
            if row is None:
                raise _not_found(category, evaluation_id)
            return _evaluation(row)

    def results(self, category: str, evaluation_id: int) -> tuple[ImageResult, ...]:
        """Every image inspected so far, with what was detected in it. CategoryNotFound, EvaluationNotFound."""
        with self._transactions.reading() as connection:
            own = (EvaluationRow.category_id == id_of_category(connection, category), EvaluationRow.id == evaluation_id)
            if connection.scalar(select(EvaluationRow.id).where(*own)) is None:
                raise _not_found(category, evaluation_id)
            return _results(connection, evaluation_id)


def forget_evaluations(connection: Connection, category_id: int) -> None:
    """Let a category begin anew: its evaluations were of another product."""
    own = select(EvaluationRow.id).where(EvaluationRow.category_id == category_id)
    _forget(connection, connection.scalars(own).all())


_IMAGE = (
    LabelledImageRow.id,
    CategoryRow.name.label("category"),
    LabelledImageRow.filename,
    LabelledImageRow.defective,
    LabelledImageRow.image_sha256,
    LabelledImageRow.image_suffix,
    LabelledImageRow.width,
    LabelledImageRow.height,
    LabelledImageRow.added_at,
    LabelledImageRow.mask_sha256,
    LabelledImageRow.mask_suffix,
)
_RESULT = (
    EvaluationResultRow.image_id,
    EvaluationResultRow.score,
    EvaluationResultRow.threshold,
    EvaluationResultRow.p_value,
    EvaluationResultRow.verdict,
    EvaluationResultRow.regions,
    EvaluationResultRow.mask_hit,
    EvaluationResultRow.error,
)
_OUTCOME = (
    EvaluationResultRow.image_id,
    LabelledImageRow.defective,
    EvaluationResultRow.score,
    EvaluationResultRow.verdict,
    EvaluationResultRow.mask_hit,
)


def _not_found(category: str, evaluation_id: int) -> EvaluationNotFound:
    return EvaluationNotFound(f"there is no evaluation {evaluation_id} of {category!r}")


def _with_outcomes(connection: Connection, evaluations: Any) -> tuple[EvaluationWithOutcomes, ...]:
    return tuple(
        EvaluationWithOutcomes(
            _evaluation(row),
            tuple(
                LabelledOutcome(**outcome._mapping)
                for outcome in connection.execute(_columns_of_images(row.id, _OUTCOME))
            ),
        )
        for row in connection.execute(evaluations).all()
    )


def _results(connection: Connection, evaluation_id: int) -> tuple[ImageResult, ...]:
    rows = connection.execute(_columns_of_images(evaluation_id, (*_IMAGE, *_RESULT)))
    return tuple((_image(row), _result(row)) for row in rows)


def _columns_of_images(evaluation_id: int, columns: Sequence[Any]) -> Any:
    """Some columns of each image that an evaluation has inspected so far, in order of id."""
    return (
        select(*columns)
        .join(LabelledImageRow, LabelledImageRow.id == EvaluationResultRow.image_id)
        .join(CategoryRow, CategoryRow.id == LabelledImageRow.category_id)
        .where(EvaluationResultRow.evaluation_id == evaluation_id)
        .order_by(LabelledImageRow.id)
    )


def _images() -> Any:
    joined = select(*_IMAGE).join(CategoryRow, CategoryRow.id == LabelledImageRow.category_id)
    return joined.order_by(LabelledImageRow.id)


def _image(row: Any) -> LabelledImage:
    return LabelledImage(**{column.key: getattr(row, column.key) for column in _IMAGE})


def _result(row: Any) -> LabelledResult:
    values = {column.key: getattr(row, column.key) for column in _RESULT}
    return LabelledResult(**{**values, "regions": tuple(values["regions"])})


def _find(connection: Connection, category_id: int, image_id: int) -> LabelledImage:
    row = connection.execute(
        _images().where(LabelledImageRow.category_id == category_id, LabelledImageRow.id == image_id, _LIVE)
    ).one_or_none()
    if row is None:
        raise LabelledImageNotFound(f"there is no image {image_id} in this test set")
    return _image(row)


def _put(connection: Connection, category_id: int, image: NewLabelledImage, *, defective: bool) -> tuple[int, bool]:
    these = (LabelledImageRow.category_id == category_id, LabelledImageRow.image_sha256 == image.image_sha256, _LIVE)
    known = connection.execute(select(LabelledImageRow.id, LabelledImageRow.defective).where(*these)).one_or_none()
    if known is not None:
        if known.defective != defective:
            # A row of its own: earlier evaluations keep the label that they were made with.
            row = connection.execute(_images().where(*these)).one()
            connection.execute(update(LabelledImageRow).where(*these).values(removed_at=now()))
            mask = {"mask_sha256": row.mask_sha256, "mask_suffix": row.mask_suffix}
            return _insert(connection, category_id, image, defective=defective, **mask), True
        return known.id, False
    return _insert(connection, category_id, image, defective=defective), True


def _insert(connection: Connection, category_id: int, image: NewLabelledImage, **more: Any) -> int:
    values = {"category_id": category_id, "added_at": now(), **asdict(image), **more}
    [key] = connection.execute(insert(LabelledImageRow).values(**values)).inserted_primary_key or (0,)
    return int(key)


def _evaluations() -> Any:
    done = (
        select(func.count())
        .where(EvaluationResultRow.evaluation_id == EvaluationRow.id)
        .correlate(EvaluationRow)
        .scalar_subquery()
    )
    return (
        select(EvaluationRow.__table__, CategoryRow.name.label("category"), done.label("done"))
        .join(CategoryRow, CategoryRow.id == EvaluationRow.category_id)
        .order_by(EvaluationRow.id.desc())
    )


def _evaluation(row: Row[Any]) -> Evaluation:
    return Evaluation(
        row.id, row.category, row.key, row.version, row.settings, row.images, row.done, row.started_at, row.finished_at
    )


def _forget(connection: Connection, ids: Iterable[int]) -> None:
    for some in batches(ids):
        connection.execute(delete(EvaluationResultRow).where(EvaluationResultRow.evaluation_id.in_(some)))
        connection.execute(delete(EvaluationRow).where(EvaluationRow.id.in_(some)))
