"""The background tasks of a service: what each does in a round, how long it pauses, and when it counts as stalled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from service.auth.api_key_cache import ApiKeyCache
from service.background.adaptations import Adaptations
from service.background.calibration_manager import CalibrationManager
from service.background.catalogue_sync import CatalogueSync
from service.background.compaction import Compaction
from service.background.condensing import Condensing
from service.background.criteria import CurrentCriteria
from service.background.evaluations import Evaluations
from service.background.geometry_changes import GeometryChanges
from service.background.inspection_stream import InspectionStream
from service.background.key_sync import refresh_keys
from service.background.pruning import Pruning
from service.background.readiness import CHECK_SECONDS, Readiness
from service.background.segment_checks import SegmentChecks
from service.background.supervisor import Supervisor, Task
from service.background.tuning import SettingsTuner
from service.inference.resources import InferenceResources
from service.observability.metrics import Metrics
from service.settings import Settings
from service.station_frames import StationFrames

_KEY_SYNC_SECONDS = 0.25  # a revoked key is refused within a second, whatever REFRESH_INTERVAL_MS is
_TEST_SET_SECONDS = 3.0  # between looks at whether a test set is to be evaluated, or settings are to be tuned
_FRAMES_SECONDS = 10.0  # between looks at whether stations' frames are still watched


@dataclass(frozen=True)
class BackgroundTasks:
    """The supervisor of all tasks, and those whose next round others request.

    A read-only service runs none that only writes to the data folder.
    """

    catalogue_sync: Task
    key_sync: Task
    geometry_changes: Task
    condensing: Task
    evaluations: Task
    tuning: Task
    supervisor: Supervisor

    @classmethod
    def build(
        cls,
        settings: Settings,
        metrics: Metrics,
        resources: InferenceResources,
        *,
        api_keys: ApiKeyCache,
        calibrations: CalibrationManager,
        adaptations: Adaptations,
        condensing: Condensing,
        pruning: Pruning,
        inspection_stream: InspectionStream,
        station_frames: StationFrames,
        readiness: Readiness,
    ) -> BackgroundTasks:
        """All tasks, not started yet."""
        reference_store, refresh = resources.reference_store, settings.refresh_interval_ms / 1000
        task = partial(Task, metrics=metrics)
        catalogue_sync = task(
            "catalogue-sync", CatalogueSync(reference_store).round, seconds=refresh, max_seconds=5, stalls_after=60
        )
        key_sync = task(
            "key-sync",
            partial(refresh_keys, api_keys),
            seconds=_KEY_SYNC_SECONDS,
            max_seconds=2 * _KEY_SYNC_SECONDS,
            min_seconds=_KEY_SYNC_SECONDS,
            stalls_after=10,
        )
        adapting = task("adaptation", adaptations.round, seconds=refresh, max_seconds=5)
        adaptations.asked = adapting.soon
        changes = GeometryChanges(resources, calibrations)
        criteria = CurrentCriteria(calibrations, adaptations)
        evaluator = Evaluations(resources, calibrations, criteria)
        tuner = SettingsTuner(resources, calibrations, criteria)
        geometry_changes = task("geometry", changes.round, seconds=refresh, max_seconds=30)
        coresets = task("condensing", condensing.round, seconds=refresh, max_seconds=60)
        evaluations = task("evaluation", evaluator.round, seconds=_TEST_SET_SECONDS, max_seconds=60)
        tuning = task("tuning", tuner.round, seconds=_TEST_SET_SECONDS, max_seconds=60)
        # What only ever writes to the data folder: a service that is read-only does without.
        upkeep = (
            geometry_changes,
            coresets,
            evaluations,
            tuning,
            task("pruning", pruning.round, seconds=pruning.pause),
            task("compaction", Compaction(reference_store).round, seconds=refresh),
            task("station-frames", station_frames.delete_unwatched, seconds=_FRAMES_SECONDS),
        )
        supervisor = Supervisor(
            (
                catalogue_sync,
                key_sync,
                task("calibration", calibrations.round, seconds=refresh, max_seconds=5),
                adapting,
                *(() if settings.read_only else upkeep),
                task("segment-check", SegmentChecks(reference_store).round, seconds=refresh),
                task("event-stream", inspection_stream.round, seconds=refresh, max_seconds=5, stalls_after=60),
                task("self-check", readiness.round, seconds=CHECK_SECONDS, max_seconds=CHECK_SECONDS, stalls_after=60),
            )
        )
        return cls(catalogue_sync, key_sync, geometry_changes, coresets, evaluations, tuning, supervisor)
