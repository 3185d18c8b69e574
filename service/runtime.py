"""Everything a running service holds, made once at start-up and taken down in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from fastapi import Request

from indexer.catalogue import CatalogueBusy, CatalogueUnavailable, Category, CategorySettings
from indexer.encoders import Encoder, load_encoder, prepare
from indexer.encoders.device_preprocessing import DevicePreparer
from indexer.library import FeatureSpaceMismatch, Library
from indexer.retention import HISTORY, Pruner
from indexer.search import Asking, Engine, choose_engine
from indexer.verdicts.ranking import references_needed
from service.access.keyring import KeyRing
from service.admission import Admission
from service.calibrations import Calibrations
from service.detection import Inspector
from service.history import has_room
from service.metrics import Metrics
from service.owner import Owner, Turn
from service.problems import ProblemError
from service.pruning import Pruning
from service.schemas.calibration import CalibrationView, UnfamiliarView
from service.settings import Settings
from service.state_metrics import StateMetrics
from service.tracing import Tracing
from service.uploads import Decoder, Prepare

log = logging.getLogger("touchstone")

_REACH_SECONDS = 2.0  # to wait for a snapshot that a request asks for: other replicas' commits come within a second


@dataclass
class Runtime:
    """What routes work with.

    `trouble` says in one line why the service is not ready, when it is not. `stopping`: streams should end.
    """

    settings: Settings
    encoder: Encoder
    engine: Engine
    library: Library
    owner: Owner
    decoder: Decoder
    calibrations: Calibrations
    inspector: Inspector
    metrics: Metrics
    tracing: Tracing
    admission: Admission
    ring: KeyRing
    pruner: Pruner
    pruning: Pruning
    trouble: str | None = None
    known_settings: dict[str, CategorySettings] = field(default_factory=dict)
    stopping: bool = False
    previewing: asyncio.Lock = field(default_factory=asyncio.Lock)  # searches for previews are made one after another

    @classmethod
    def start(cls, settings: Settings) -> Runtime:
        """Load the encoder and the memory.

        EncoderError, FeatureSpaceMismatch, SchemaMismatch and TracingUnavailable say what is wrong in one line each.
        """
        tracing, metrics = Tracing(settings.traces_endpoint), Metrics(settings.metrics_categories)
        encoder = load_encoder(settings.encoder_settings)
        library = Library.open(
            settings.data, encoder.space, codec=settings.codec, database_url=settings.database_url,
            codes_on_disk=settings.codes_on_disk,
        )  # fmt: skip
        (settings.data / HISTORY).mkdir(exist_ok=True)
        for damage in library.damaged:
            log.error("%s: its references are not served", damage)
        engine = choose_engine(encoder.device, settings.device_memory_share)
        owner = Owner(
            encoder, engine, lambda: library.memory, metrics, batch_size=settings.batch_size,
            batch_wait=settings.batch_wait_ms / 1000, queue_size=settings.queue_size,
        )  # fmt: skip
        if settings.compile_encoder:  # on the thread that will use it: CUDA graphs belong to one
            owner.calibrate(lambda _: warm_up(encoder, settings.batch_size)).result()
        calibrations = Calibrations(owner, engine, library)
        decoder = Decoder(settings.decode_threads, settings.image_limits, preparer(encoder, settings), metrics)
        ring = KeyRing(library.catalogue.keys)
        ring.refresh()
        pruner = Pruner(settings.data, library.catalogue, settings.retention, settings.min_free_bytes)
        running = cls(
            settings, encoder, engine, library, owner, decoder, calibrations, Inspector(engine, calibrations),
            metrics, tracing, Admission(settings.queue_size + settings.batch_size), ring,
            pruner, Pruning(pruner, library.catalogue.retention, metrics, settings.prune_seconds),
        )  # fmt: skip
        metrics.registry.register(StateMetrics(running))
        return running

    def stop(self) -> None:
        """Finish accepted work, then let go of everything."""
        self.owner.stop()
        self.decoder.close()
        self.library.close()
        self.tracing.close()

    @property
    def inspections_folder(self) -> Path:
        """Where the maps and thumbnails of inspections lie."""
        return self.settings.data / HISTORY

    def category_settings(self) -> dict[str, CategorySettings]:
        """Every category's settings, by name; while the catalogue is away, those it had when last asked."""
        try:
            categories = self.library.catalogue.categories.all()
        except (CatalogueBusy, CatalogueUnavailable):
            return self.known_settings
        self.known_settings = {category.name: category.settings for category in categories}
        return self.known_settings

    def calibration_view(self, name: str, settings: CategorySettings) -> CalibrationView:
        """Where a category's calibration stands now."""
        memory = self.library.memory
        found = self.calibrations.of(name)
        state: Literal["ready", "pending", "none"] = "pending"
        if self.calibrations.is_current(memory, name, settings.scoring):
            state = "ready"
        if len(memory.rows_of(name)) < 2:
            state, found = "none", None
        rate, unfamiliar_rate = settings.false_reject_rate, settings.unfamiliar_rate
        return CalibrationView(
            state=state, progress=1.0 if state == "ready" else self.calibrations.progress(name),
            threshold=None if found is None else found.scores.level(rate),
            region_level=None if found is None else found.peaks.level(rate),
            references=0 if found is None else len(found), references_needed=references_needed(rate),
            reached=found is not None and found.scores.reaches(rate),
            duplicates=0 if found is None else found.duplicates,
            unfamiliar=UnfamiliarView(
                level=None if found is None else found.familiarity.level(unfamiliar_rate),
                reached=found is not None and found.familiarity.ranking.reaches(unfamiliar_rate),
                references_needed=references_needed(unfamiliar_rate),
            ),
            version=None if found is None else found.version,
        )  # fmt: skip

    def keeps_history(self) -> bool:
        """Whether inspections are kept; not when the disk is nearly full."""
        return has_room(self.settings.data, self.settings.min_free_bytes)

    async def reach(self, version: int) -> None:
        """Return once this process serves a snapshot of at least this version. ProblemError when it takes too long."""
        end = time.monotonic() + _REACH_SECONDS
        while self.library.memory.version < version:
            if time.monotonic() > end:
                detail = f"The snapshot is {self.library.memory.version}, not yet {version}; ask again."
                raise ProblemError("snapshot-behind", detail, headers={"Retry-After": "1"})
            await asyncio.to_thread(self.library.refresh)
            if self.library.memory.version < version:
                await asyncio.sleep(0.05)

    async def forward_ms(self) -> float:
        """Time a blank picture's way through the owner and the encoder, in milliseconds."""
        side = self.encoder.space.geometry.crop
        started = time.monotonic()
        # Where the decoder leaves its pictures: a batch lies on one device.
        where = self.encoder.device if self.settings.prepare_on_device else None
        blank = torch.zeros((3, side, side), dtype=torch.uint8, device=where)
        [future] = self.owner.detect([(blank, _nothing_asked)], self.settings.deadline_ms / 1000)
        await asyncio.wrap_future(future)
        return (time.monotonic() - started) * 1000

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """While open, follow other processes' changes, keep calibrations current, and prune the history."""
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self.pruning.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _follow(self) -> None:
        tidied = 0
        while True:
            try:
                memory = await asyncio.to_thread(self.library.refresh)
                if memory.version != tidied:
                    await asyncio.to_thread(self.library.tidy)
                    tidied = memory.version
                await asyncio.to_thread(self.ring.refresh)
                categories: list[Category] = list(await asyncio.to_thread(self.library.catalogue.categories.all))
                await self.calibrations.renew(categories)
            except FeatureSpaceMismatch as error:
                self.trouble = str(error)
                log.error("%s", error)
            except Exception:  # the database may be away for a while; detection goes on with what it has
                self.metrics.catalogue_error()
                log.exception("cannot follow the catalogue; trying again")
            await asyncio.sleep(self.settings.refresh_ms / 1000)


def _nothing_asked(turn: Turn) -> Asking[int]:
    """A forward pass alone: how many pictures it was of."""
    yield from ()
    return len(turn.features)


def warm_up(encoder: Encoder, batch_size: int) -> None:
    """Encode a blank batch of every bucket, so that nothing is compiled while a line waits."""
    side = encoder.space.geometry.crop
    for doublings in range((batch_size - 1).bit_length() + 1):
        encoder.encode(torch.zeros((1 << doublings, 3, side, side), dtype=torch.uint8))


def preparer(encoder: Encoder, settings: Settings) -> Prepare:
    """What makes decoded pictures ready for the encoder, where the settings say."""
    if settings.prepare_on_device:
        return DevicePreparer(encoder.device, encoder.space.geometry)
    return partial(prepare, geometry=encoder.space.geometry)


def runtime(request: Request) -> Runtime:
    """The running service, for routes to depend on."""
    found: Runtime = request.app.state.runtime
    return found
