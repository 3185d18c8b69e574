"""The state of a running service: built at start-up, closed in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
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
from service.background.adaptations import Adaptations
from service.background.calibration_manager import CalibrationManager
from service.background.condensing import Condensing
from service.background.criteria import CurrentCriteria
from service.background.inspection_stream import InspectionStream
from service.background.pruning import Pruning
from service.background.readiness import Readiness
from service.background.tasks import BackgroundTasks
from service.errors import SnapshotBehind
from service.file_descriptors import FileDescriptorShortage
from service.inference.backend import Backend, local_backend
from service.inference.decoder import Decoder, choose_preprocessing
from service.inference.detection_jobs import DetectionJobs
from service.inference.in_flight import Budget, InFlightLimits
from service.inference.resources import InferenceResources
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

_MAX_VERSION_WAIT_SECONDS = 2.0  # for a snapshot that a request asks for: other replicas' commits come within a second
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
    condensing: Condensing
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
    background: BackgroundTasks
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
        reference_store = _open_memory(encoder, settings)
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
        _warm_up(worker, backend, reference_store, settings)
        preprocess = choose_preprocessing(encoder, settings)
        resources = InferenceResources(worker, encoder, engine, reference_store, preprocess, settings.image_limits)
        calibrations = CalibrationManager(worker, engine, reference_store)
        adaptations = Adaptations(resources, calibrations)
        condensing = Condensing(resources, calibrations)
        under_way = settings.batch_size * backend.concurrent_batches
        detecting = _in_flight_limits(settings, settings.queue_size + under_way, lambda: worker.retry_after)
        onboarding = _in_flight_limits(settings, settings.onboarding_queue_size, lambda: _ONBOARDING_RETRY_SECONDS)
        decoder, onboarding_decoder = (
            Decoder(settings.decode_threads, settings.image_limits, preprocess, metrics, kind.decoded_bytes)
            for kind in (detecting, onboarding)
        )
        api_keys = ApiKeyCache(reference_store.catalogue.api_keys)
        api_keys.refresh()
        pruner = Pruner(reference_store.folder, reference_store.catalogue, settings.retention, settings.min_free_bytes)
        pruning = Pruning(pruner, reference_store.catalogue.retention, metrics, settings.prune_interval_seconds)
        inspection_stream = InspectionStream(reference_store.catalogue.inspections)
        station_frames = StationFrames(settings.data / FRAMES)
        readiness = Readiness(encoder, worker, reference_store, settings.data, settings.min_free_bytes)
        background = BackgroundTasks.build(
            settings,
            metrics,
            resources,
            api_keys=api_keys,
            calibrations=calibrations,
            adaptations=adaptations,
            condensing=condensing,
            pruning=pruning,
            inspection_stream=inspection_stream,
            station_frames=station_frames,
            readiness=readiness,
        )
        return cls(
            settings=settings,
            encoder=encoder,
            engine=engine,
            reference_store=reference_store,
            worker=worker,
            detecting=detecting,
            decoder=decoder,
            onboarding=onboarding,
            onboarding_decoder=onboarding_decoder,
            calibrations=calibrations,
            adaptations=adaptations,
            condensing=condensing,
            detection_jobs=DetectionJobs(engine, CurrentCriteria(calibrations, adaptations).of),
            metrics=metrics,
            tracing=tracing,
            api_keys=api_keys,
            identity_provider=identity_provider,
            pruner=pruner,
            pruning=pruning,
            recorder=Recorder(settings.data, reference_store, pruner, settings.min_free_bytes),
            deferred=DeferredRecordings(metrics),
            thread_pools=ThreadPools(),
            inspection_stream=inspection_stream,
            station_frames=station_frames,
            readiness=readiness,
            background=background,
        )

    def begin(self) -> None:
        """Send a first image through the encoder, then begin all background work."""
        self.readiness.round(patience=_START_SECONDS)
        self.background.supervisor.start()

    def stop(self) -> None:
        """Finish accepted work, then release all resources."""
        self.background.supervisor.stop()
        self.worker.stop()
        self.background.supervisor.join(_JOIN_SECONDS)
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
        ended = [task.name for task in self.background.supervisor.states() if task.state == "ended"]
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
            await asyncio.wait_for(
                asyncio.wrap_future(self.background.catalogue_sync.soon()), _MAX_VERSION_WAIT_SECONDS
            )
        while self.reference_store.memory.version < version:
            if self.reference_store.published.superseded_by is not None:
                raise MemoryInactive("the references have been re-encoded into another memory")
            if time.monotonic() > end:
                raise SnapshotBehind(
                    f"The snapshot is {self.reference_store.memory.version}, not yet {version}; ask again."
                )
            await asyncio.sleep(0.05)


def _open_memory(encoder: Encoder, settings: Settings) -> ReferenceStore:
    """The data folder's memory; says which categories' images are not inspected whole."""
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
    return reference_store


def _warm_up(worker: InferenceWorker, backend: Backend, reference_store: ReferenceStore, settings: Settings) -> None:
    """Compile what compiles at its first use, on the worker's thread: CUDA graphs belong to one."""
    if settings.compile_encoder:
        worker.submit_calibration(lambda _: warm_up(backend.encoder, settings.batch_size)).result()
    if backend.encoder.device.type == "cuda":
        stored = reference_store.catalogue.categories.settings().values()
        rhos = {CategorySettings.rho, *(category.rho for category in stored)}
        worker.submit_calibration(lambda memory: warm_up_search(backend.engine, memory, rhos)).result()


def _in_flight_limits(settings: Settings, images: int, retry_after: Callable[[], int]) -> InFlightLimits:
    bounds = (images, settings.max_decoded_bytes, settings.max_in_flight_bytes)
    return InFlightLimits(*(Budget(bound, retry_after) for bound in bounds))
