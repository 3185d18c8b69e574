"""Every exception of the product maps to a problem type, or cannot occur in a request."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest
from starlette.requests import ClientDisconnect

import indexer
import service
from indexer.domain.errors import CategoryNotFound
from indexer.screening.effect import Effect
from service.http.problem_types import TYPES, ProblemError
from service.http.problems import PROBLEMS, to_problem

# Exceptions that no request meets, by their full name, and why.
NEVER = {
    "indexer.domain.errors.CatalogueMismatch": "a service does not start on such a folder",
    "indexer.domain.errors.ObjectStorageError": "of the commands backup, index, restore and verify",
    "indexer.jobs.backup_store.BackupError": "of the commands backup, restore and verify",
    "indexer.cli.process._Signalled": "ends a command",
    "indexer.cli.process._OutputLost": "ends a command",
    "indexer.jobs.exported_folder.ExportError": "of the commands export and serve",
    "indexer.jobs.checked_files.FileFault": "of the commands backup, restore and verify",
    "indexer.jobs.folder_layout.NothingToIndex": "of the command index",
    "indexer.jobs.geometry_change.Stopped": "of background work that is to end",
    "indexer.jobs.reencode.NothingToRebuild": "of the command rebuild",
    "indexer.jobs.reencoder.ImagesUnreadable": "of the command rebuild",
    "indexer.domain.errors.NotEncoded": "the images are encoded then, and added",
    "indexer.evaluation.dataset.DatasetError": "of the command evaluate",
    "indexer.domain.errors.BeingRestored": "a service does not start on such a folder",
    "indexer.domain.errors.NoDataFolder": "of the commands that only read; a service makes its folder",
    "indexer.domain.errors.FeatureSpaceMismatch": "a service does not start on such a folder",
    "indexer.domain.errors.EncoderError": "a service does not start with such an encoder",
    "indexer.domain.errors.SchemaMismatch": "a service does not start with such a database",
    "indexer.domain.errors.UnsupportedDatabase": "a service does not start with such a database",
    "service.auth.identity_provider.SignInUnavailable": "a service does not start with such settings",
    "service.observability.tracing.TracingUnavailable": "a service does not start with such settings",
    "indexer.domain.errors.DatabaseNotEmpty": "of the command restore",
    "indexer.catalogue.postgresql_connection._Silent": "it becomes CatalogueUnavailable or CommitUncertain",
    "indexer.domain.errors.CatalogueError": "nobody raises it: it is what the others have in common",
    "indexer.domain.errors.MemoryIncomplete": "of the switch at the end of the command rebuild",
    "indexer.domain.errors.SegmentsChanged": "of compaction, which tries again",
    "indexer.domain.errors.ReferencesMoved": "the front then searches its own segments",
    "indexer.domain.errors.CorruptSegmentError": "the loader notes it and goes on; compaction tries again",
    "service.background.calibration_manager._Outdated": "caught where it is raised",
    "service.background.labelled_images.UnusableImage": "kept as the result of a test image",
    "service.background.condensing._Abandoned": "of a background task",
    "service.background.tuning._Ended": "ends a tuning that was cancelled",
    "service.background.tuning._Outdated": "kept as the reason why a tuning ended",
    "service.background.supervisor.RoundFailed": "of a background task, which tries again",
}
# What the constructors of some set.
ANY = {
    "detail": "1",
    "reason": "1",
    "retry_after": "1",
    "effect": Effect(None, None, None, None),
    "reasons": (),
    "role": "1",
}


def ours() -> Iterator[type[BaseException]]:
    """Every exception class that a module of ours defines."""
    for package in (indexer, service):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith(("__main__", "._patch_search")) or ".migrations." in module.name:
                continue
            for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(member, BaseException) and member.__module__ == module.name:
                    yield member


def name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


FOUND = sorted(set(ours()), key=name)


@pytest.mark.parametrize("kind", FOUND, ids=name)
def test_every_exception_of_ours_has_a_problem_or_a_reason_to_have_none(kind: type[BaseException]) -> None:
    mapped = [base for base in kind.__mro__ if base in PROBLEMS and base is not OSError]  # that is of the system's own
    assert bool(mapped) != (name(kind) in NEVER), "one of both"


def test_the_reasons_are_of_exceptions_that_there_are() -> None:
    assert set(NEVER) <= set(map(name, FOUND))
    assert len(FOUND) > 25


def test_every_mapping_makes_a_problem_that_is_documented() -> None:
    for kind in PROBLEMS:
        if kind.__module__.startswith(("indexer.", "service.")) and kind is not ProblemError:
            error = kind.__new__(kind)  # whatever its constructor asks for
            for attribute, value in ANY.items():
                if not hasattr(error, attribute):
                    setattr(error, attribute, value)
            assert to_problem(error).kind in TYPES  # type: ignore[arg-type]
            assert to_problem(error).kind != "internal", kind  # type: ignore[arg-type]
    assert to_problem(ClientDisconnect()).kind in TYPES


def test_an_unexpected_error_is_internal_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert to_problem(ZeroDivisionError("at /srv")).kind == "internal"
    assert "at /srv" not in to_problem(ZeroDivisionError("at /srv")).detail
    assert caplog.records[0].exc_info is not None


def test_a_name_keeps_its_capitals_in_what_is_not_found() -> None:
    assert to_problem(CategoryNotFound("no category 'Brake Disc'")).detail == "No category 'Brake Disc'."
