"""The state of a running service: built at start-up, closed in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from indexer.domain.category import CategorySettings
from indexer.domain.errors import MemoryInactive
from indexer.encoders import Encoder
from indexer.history.pruner import HISTORY, Pruner
from indexer.jobs.encoder_of_memory import encoder_of_memory
from indexer.references.reference_store import ReferenceStore
from indexer.search import PatchSearchEngine
from indexer.search.cost import Pace, measure_pace
from indexer.search.warm_up import warm_up as warm_up_search
from indexer.storage.disk_space import has_free_space
from service.auth.api_key_cache import ApiKeyCache
from service.auth.identity_provider import IdentityProvider
from service.background import Supervisor, Task
from service.background.adaptations import Adaptations
from service.background.calibration_manager import CalibrationManager
from service.background.catalogue_sync import CatalogueSync
from service.background.compaction import Compaction
from service.background.criteria import CurrentCriteria
from service.background.evaluations import Evaluations
from service.background.geometry_changes import GeometryChanges
from service.background.inspection_stream import InspectionStream
from service.background.key_sync import refresh_keys
from service.background.pruning import Pruning
from service.background.readiness import CHECK_SECONDS, Readiness
from service.background.segment_checks import SegmentChecks
from service.background.tuning import SettingsTuner
from service.errors import SnapshotBehind
from service.file_descriptors import FileDescriptorShortage
from service.inference.backend import Backend, local_backend
from service.inference.decoder import Decoder, choose_preprocessing
from service.inference.detection_jobs import DetectionJobs
from service.inference.in_flight import Budget, InFlightLimits
from service.inference.warm_up import warm_up
from service.inference.worker import InferenceWorker
from service.observability.metrics import Metrics
from service.observability.tracing import Tracing
from service.recording.deferred import DeferredRecordings
from service.recording.recorder import Recorder
from service.settings import Settings
from service.station_frames import FRAMES, StationFrames
from service.thread_pools import ThreadPools

log = logging.getLogger("touchstone")

_BORDER_WARNING = (
    "%s: a border of %.0f %% of every image is not inspected; `touchstone rebuild --category %s --cells 784`, or its "
    "settings in the console, have all of it inspected"
)

_MAX_VERSION_WAIT_SECONDS = (
    2.0  # to wait for a snapshot that a request asks for: other replicas' commits come within a second
)
_KEY_SYNC_SECONDS = (
    0.25  # between looks at the API keys: a revoked one is refused within a second, whatever REFRESH_INTERVAL_MS is
)
_EVALUATION_SECONDS = 3.0  # between looks at whether a test set is to be evaluated again
_FRAMES_SECONDS = 10.0  # between looks at whether stations' frames are still watched
_ONBOARDING_RETRY_SECONDS = 5  # for new references when too many are under way: each takes some tenths of a second
_START_SECONDS = 60.0  # for the first image to go through the encoder
_JOIN_SECONDS = 5.0  # for background work to end


@dataclass
class AppState:
    """What routes work with."""

    settings: Settings
    encoder: Encoder
    engine: PatchSearchEngine
    reference_store: ReferenceStore
    worker: InferenceWorker
    detecting: InFlightLimits
    decoder: Decoder
    onboarding: InFlightLimits
    onboarding_decoder: Decoder
    calibrations: CalibrationManager
    adaptations: Adaptations
    detection_jobs: DetectionJobs
    metrics: Metrics
    tracing: Tracing
    api_keys: ApiKeyCache
    identity_provider: IdentityProvider | None
    pruner: Pruner
    pruning: Pruning
    recorder: Recorder
    deferred: DeferredRecordings
    thread_pools: ThreadPools
    inspection_stream: InspectionStream
    station_frames: StationFrames
    readiness: Readiness
    catalogue_sync: Task
    key_sync: Task
    geometry_changes: Task
    evaluations: Task
    tuning: Task
    background: Supervisor
    descriptor_shortage: FileDescriptorShortage = field(default_factory=FileDescriptorShortage)
    pace_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pace: Pace | None = None  # of the encoder and the search, once somebody has asked what a geometry costs
    preview_lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # searches for previews are made one after another

    @classmethod
    def start(cls, settings: Settings, backend: Backend | None = None) -> AppState:
        """Load the encoder and the memory. backend: encodes and searches instead of this process.

        EncoderError, FeatureSpaceMismatch, SchemaMismatch, SignInUnavailable and TracingUnavailable say what is wrong,
        in one line each.
        """
        tracing, metrics = Tracing(settings.traces_endpoint), Metrics(settings.metrics_max_categories)
        identity_provider = None if settings.oidc_issuer is None else IdentityProvider(settings.oidc_issuer, settings)
        if backend is None:
            backend = local_backend(encoder_of_memory(settings), settings.device_memory_share)
        encoder, engine = backend.encoder, backend.engine
        reference_store = ReferenceStore.open(
            settings.data,
            encoder.space,
            codec=settings.codec,
            database_url=settings.database_url,
            mmap_codes=settings.mmap_codes,
        )
        for name in reference_store.published.settings:
            if (inspected := reference_store.geometry_of(name).inspected) < 1:
                log.warning(_BORDER_WARNING, name, 100 * (1 - inspected), name)
        (settings.data / HISTORY).mkdir(exist_ok=True)
        if encoder.device.type == "cuda":
            # What is left to the CPU are small steps on many threads: each splitting its own over all cores costs more.
            torch.set_num_threads(1)
        worker = InferenceWorker(
            encoder,
            engine,
            lambda: reference_store.memory,
            metrics,
            batch_size=settings.batch_size,
            max_batch_delay=settings.max_batch_delay_ms / 1000,
            queue_size=settings.queue_size,
            under_way=lambda: detecting.images.used,
            threads=backend.concurrent_batches,
        )
        if settings.compile_encoder:  # on the thread that will use it: CUDA graphs belong to one
            worker.submit_calibration(lambda _: warm_up(encoder, settings.batch_size)).result()
        if encoder.device.type == "cuda":
            rhos = {
                CategorySettings().rho,
                *(setting.rho for setting in reference_store.catalogue.categories.settings().values()),
            }
            worker.submit_calibration(lambda memory: warm_up_search(engine, memory, rhos)).result()
        calibrations = CalibrationManager(worker, engine, reference_store)
        preprocess = choose_preprocessing(encoder, settings)
        under_way = settings.batch_size * backend.concurrent_batches
        detecting = _in_flight_limits(settings, settings.queue_size + under_way, lambda: worker.retry_after)
        onboarding = _in_flight_limits(settings, settings.onboarding_queue_size, lambda: _ONBOARDING_RETRY_SECONDS)
        decoder, onboarding_decoder = (
            Decoder(
                settings.decode_threads,
                settings.image_limits,
                preprocess,
                metrics,
                kind.decoded_bytes,
            )
            for kind in (detecting, onboarding)
        )
        api_keys = ApiKeyCache(reference_store.catalogue.api_keys)
        api_keys.refresh()
        pruner = Pruner(reference_store.folder, reference_store.catalogue, settings.retention, settings.min_free_bytes)
        pruning = Pruning(pruner, reference_store.catalogue.retention, metrics, settings.prune_interval_seconds)
        inspection_stream = InspectionStream(reference_store.catalogue.inspections)
        station_frames = StationFrames(settings.data / FRAMES)
        readiness = Readiness(encoder, worker, reference_store, settings.data, settings.min_free_bytes)
        refresh = settings.refresh_interval_ms / 1000
        task = partial(Task, metrics=metrics)
        catalogue_sync = task(
            "catalogue-sync", CatalogueSync(reference_store).round, seconds=refresh, most_seconds=5, stalls_after=60
        )
        key_sync = task(
            "key-sync",
            partial(refresh_keys, api_keys),
            seconds=_KEY_SYNC_SECONDS,
            most_seconds=2 * _KEY_SYNC_SECONDS,
            least_seconds=_KEY_SYNC_SECONDS,
            stalls_after=10,
        )
        adaptations = Adaptations(worker, encoder, engine, reference_store, calibrations, settings.image_limits)
        adapting = task("adaptation", adaptations.round, seconds=refresh, most_seconds=5)
        adaptations.asked = adapting.soon
        changes = GeometryChanges(
            worker, encoder, engine, reference_store, calibrations, preprocess, settings.image_limits
        )
        geometry_changes = task("geometry", changes.round, seconds=refresh, most_seconds=30)
        criteria = CurrentCriteria(calibrations, adaptations)
        evaluating = Evaluations(
            worker, encoder, engine, reference_store, calibrations, criteria, preprocess, settings.image_limits
        )
        evaluations = task("evaluation", evaluating.round, seconds=_EVALUATION_SECONDS, most_seconds=60)
        tuner = SettingsTuner(
            worker, encoder, engine, reference_store, calibrations, criteria, preprocess, settings.image_limits
        )
        tuning = task("tuning", tuner.round, seconds=_EVALUATION_SECONDS, most_seconds=60)
        # What only ever writes to the data folder: a service that is read-only does without.
        upkeep = (
            geometry_changes,
            evaluations,
            tuning,
            task("pruning", pruning.round, seconds=pruning.pause),
            task("compaction", Compaction(reference_store).round, seconds=refresh),
            task("station-frames", station_frames.delete_unwatched, seconds=_FRAMES_SECONDS),
        )
        background = Supervisor(
            (
                catalogue_sync,
                key_sync,
                task("calibration", calibrations.round, seconds=refresh, most_seconds=5),
                adapting,
                *(() if settings.read_only else upkeep),
                task("segment-check", SegmentChecks(reference_store).round, seconds=refresh),
                task("event-stream", inspection_stream.round, seconds=refresh, most_seconds=5, stalls_after=60),
                task("self-check", readiness.round, seconds=CHECK_SECONDS, most_seconds=CHECK_SECONDS, stalls_after=60),
            )
        )
        return cls(
            settings,
            encoder,
            engine,
            reference_store,
            worker,
            detecting,
            decoder,
            onboarding,
            onboarding_decoder,
            calibrations,
            adaptations,
            DetectionJobs(engine, criteria.of),
            metrics,
            tracing,
            api_keys,
            identity_provider,
            pruner,
            pruning,
            Recorder(settings.data, reference_store, pruner, settings.min_free_bytes),
            DeferredRecordings(metrics),
            ThreadPools(),
            inspection_stream,
            station_frames,
            readiness,
            catalogue_sync,
            key_sync,
            geometry_changes,
            evaluations,
            tuning,
            background,
        )

    def begin(self) -> None:
        """Send a first image through the encoder, then begin all background work."""
        self.readiness.round(patience=_START_SECONDS)
        self.background.start()

    def stop(self) -> None:
        """Finish accepted work, then release all resources."""
        self.background.stop()
        self.worker.stop()
        self.background.join(_JOIN_SECONDS)
        self.decoder.close()
        self.onboarding_decoder.close()
        self.thread_pools.close()
        self.reference_store.close()
        self.tracing.close()

    @property
    def history_folder(self) -> Path:
        """Where the maps and thumbnails of inspections lie."""
        return self.settings.data / HISTORY

    @property
    def category_settings(self) -> Mapping[str, CategorySettings]:
        """Every category's settings, by name, as they go with the newest snapshot: no database is asked."""
        return self.reference_store.published.settings

    def recording_enabled(self) -> bool:
        """Whether inspections are kept; not when the disk is nearly full, nor where the service is read-only."""
        return not self.settings.read_only and has_free_space(self.settings.data, self.settings.min_free_bytes)

    async def geometry_pace(self) -> Pace:
        """How fast encoder and search are, measured once, behind all other work."""
        async with self.pace_lock:
            if self.pace is None:
                codec = self.reference_store.memory.codec
                measured = self.worker.submit_calibration(lambda _: measure_pace(self.encoder, self.engine, codec))
                self.pace = await asyncio.wrap_future(measured)
            return self.pace

    @property
    def not_ready_reason(self) -> str | None:
        """Why the service is not ready to inspect, in one line; None when it is."""
        ended = [task.name for task in self.background.states() if task.state == "ended"]
        if ended:
            return f"Background work has ended ({', '.join(ended)}): restart the service."
        return self.descriptor_shortage.reason or self.readiness.reason

    async def wait_for_version(self, version: int) -> None:
        """Return once this process serves a snapshot of at least this version. SnapshotBehind when it takes too long.

        MemoryInactive when the references have been re-encoded into another memory.

        All waiting requests share one poll of the catalogue, followed by the regular polls.
        """
        if self.reference_store.memory.version >= version:
            return
        end = time.monotonic() + _MAX_VERSION_WAIT_SECONDS
        with suppress(Exception):  # the task logs what went wrong; another look may go well
            await asyncio.wait_for(asyncio.wrap_future(self.catalogue_sync.soon()), _MAX_VERSION_WAIT_SECONDS)
        while self.reference_store.memory.version < version:
            if self.reference_store.published.superseded_by is not None:
                raise MemoryInactive("the references have been re-encoded into another memory")
            if time.monotonic() > end:
                raise SnapshotBehind(
                    f"The snapshot is {self.reference_store.memory.version}, not yet {version}; ask again."
                )
            await asyncio.sleep(0.05)


def _in_flight_limits(settings: Settings, images: int, retry_after: Callable[[], int]) -> InFlightLimits:
    bounds = (images, settings.max_decoded_bytes, settings.max_in_flight_bytes)
    return InFlightLimits(*(Budget(bound, retry_after) for bound in bounds))
