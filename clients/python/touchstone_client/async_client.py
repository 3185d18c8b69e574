"""The asynchronous client: the same methods as `Client`, to be awaited."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar, Unpack

import httpx

from touchstone_client import endpoints, models
from touchstone_client.connection import AsyncConnection
from touchstone_client.endpoints import Call
from touchstone_client.errors import Problem
from touchstone_client.frames import StationFrame
from touchstone_client.images import BatchLimits, ImageInput, batches
from touchstone_client.onboarding import OnboardingProgress, OnboardingResult, onboarding
from touchstone_client.parameters import (
    DECISIONS_PER_REQUEST,
    DefectDetails,
    InspectionFilter,
    MapFormat,
    ReferenceOrder,
    ReportFormat,
    Resolution,
    ReviewDecision,
    StationReport,
)
from touchstone_client.polling import InspectionPoller
from touchstone_client.retry import Retries, Timeouts


class _Page(Protocol):
    @property
    def next_cursor(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


class AsyncClient:
    """Calls one Touchstone service. Use it as a context manager, or close it. Belongs to one event loop.

    url: the service's base URL. api_key: required unless the service runs with open access. transport: an httpx
    transport, for tests. ValueError when the URL or the key is malformed. Every method may raise a TouchstoneError;
    `touchstone_client.errors` draws their tree.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeouts: Timeouts = Timeouts(),
        retries: Retries = Retries(),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._connection = AsyncConnection(url, api_key, timeouts, retries, transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    # Inspecting

    async def detect(
        self,
        images: Sequence[ImageInput],
        *,
        category: str | None = None,
        part_id: str | None = None,
        station: str | None = None,
        map: MapFormat = "none",
        overlay: bool = False,
        min_version: int | None = None,
        idempotency_key: str | None = None,
        bit_depth: models.BitDepth | None = None,
        record: bool = True,
        wait_for_recording: bool = True,
    ) -> models.DetectResponse:
        """Inspect images; one result per image, in order. ImageRejected when the only image cannot be used.

        category: compare with this category only; by default the most similar one is used. map: return the anomaly map
        in this format. overlay: return the image with map and regions drawn in. min_version: use no older index version
        than this one, such as the one that `onboard` returned, whichever replica responds. idempotency_key: names this
        request; repeating it with the same key, also from another process, returns the recorded result instead of
        inspecting again. The attempts within one call always share a key. bit_depth: how many bits the camera uses in
        files of 16 bits per channel; by default the category's setting. record: False tries images out, which leaves
        history, yield and drift alone. wait_for_recording: False returns before the inspection is recorded, which
        follows at once; `recorded` is then None.
        """
        return await self._connection.send(
            endpoints.detect(
                images,
                category,
                part_id,
                station,
                map,
                overlay,
                min_version,
                idempotency_key,
                bit_depth,
                record,
                wait_for_recording,
            )
        )

    async def inspect(
        self,
        image: ImageInput,
        *,
        category: str | None = None,
        part_id: str | None = None,
        station: str | None = None,
        map: MapFormat = "none",
        overlay: bool = False,
        min_version: int | None = None,
        idempotency_key: str | None = None,
        bit_depth: models.BitDepth | None = None,
        record: bool = True,
        wait_for_recording: bool = True,
    ) -> models.Detection:
        """Inspect one image; the arguments are those of `detect`. ImageRejected when it cannot be used."""
        response = await self.detect(
            [image],
            category=category,
            part_id=part_id,
            station=station,
            map=map,
            overlay=overlay,
            min_version=min_version,
            idempotency_key=idempotency_key,
            bit_depth=bit_depth,
            record=record,
            wait_for_recording=wait_for_recording,
        )
        return endpoints.single_result(response)

    # References

    async def onboard(
        self,
        category: str,
        images: Iterable[ImageInput],
        *,
        refuse: Sequence[models.FindingKind] | None = None,
        bit_depth: models.BitDepth | None = None,
        cells: int | None = None,
        smallest_defect: float | None = None,
        millimetres_per_pixel: float | None = None,
        on_mismatch: models.OnMismatch | None = None,
        limits: BatchLimits = BatchLimits(),
        progress: Callable[[OnboardingProgress], None] | None = None,
    ) -> OnboardingResult:
        """Add images of good parts to a category's references, in as many requests as needed.

        Files are read when they are sent. What the service has acknowledged is durable, and the call is idempotent: an
        image that is a reference already is reported as a duplicate. refuse: findings for which an image is refused,
        instead of the category's setting. bit_depth: how many bits the camera uses in files of 16 bits per channel; by
        default the category's setting, or what the first files suggest. progress: called after each request.

        Of a new category: cells, how many its grid has at most; or smallest_defect, the size of the smallest defect
        that matters, in pixels, or in millimetres with millimetres_per_pixel; on_mismatch, what is done with images of
        other proportions. `geometry_advice` tells what that costs.
        """
        resolution = Resolution(cells, smallest_defect, millimetres_per_pixel, on_mismatch)
        steps = onboarding(category, images, refuse, bit_depth, resolution, limits, progress)
        try:
            call = next(steps)
            while True:
                try:
                    response = await self._connection.send(call)
                except (Problem, OSError) as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(response)
        except StopIteration as finished:
            result: OnboardingResult = finished.value
            return result

    async def references(
        self,
        category: str | None = None,
        *,
        removed: bool = False,
        from_feedback: bool = False,
        order: ReferenceOrder = "oldest",
        text: str | None = None,
        page_size: int = 500,
    ) -> AsyncIterator[models.Reference]:
        """References, of one category or of all.

        removed: those that were removed, instead. from_feedback: only those that were added by feedback. text: only
        those whose file name contains it, or whose id it is. order: `outliers`, which needs a category, by falling
        `score`.
        """
        filtered = (category, removed, from_feedback, order, text)
        async for page in self._newest(lambda cursor: endpoints.references(*filtered, cursor, page_size)):
            for reference in page.references:
                yield reference

    async def reference(self, reference_id: int) -> models.Reference:
        """One reference, also a removed one."""
        return await self._connection.send(endpoints.reference(reference_id))

    async def reference_image(self, reference_id: int, *, side: int | None = None) -> bytes:
        """A reference's image file. side: scale it to fit a square of so many pixels, and return a JPEG."""
        return await self._connection.send(endpoints.reference_image(reference_id, side))

    async def remove_reference(self, reference_id: int) -> models.Removed:
        """Remove a reference from its category."""
        return await self._connection.send(endpoints.remove_reference(reference_id))

    async def remove_references(self, reference_ids: Sequence[int]) -> models.RemovedMany:
        """Remove up to 1,000 references together; `unknown` lists ids of no reference."""
        return await self._connection.send(endpoints.remove_references(reference_ids))

    async def restore_reference(self, reference_id: int) -> models.Reference:
        """Add a removed reference again, under a new id; possible for 30 days."""
        return await self._connection.send(endpoints.restore_reference(reference_id))

    # Categories

    async def categories(self) -> tuple[models.Category, ...]:
        """All categories, sorted by name."""
        return (await self._connection.send(endpoints.categories())).categories

    async def category(self, name: str) -> models.Category:
        """One category."""
        return await self._connection.send(endpoints.category(name))

    async def update_category(self, name: str, **changes: Unpack[models.SettingsChanges]) -> models.Category:
        """Change some settings, for example `false_reject_rate=0.02`; None resets the settings that may be None.

        `geometry={"smallest_defect": 12}` changes how fine images are inspected; the present geometry serves until all
        references are encoded again, see `Category.geometry_change`.
        """
        return await self._connection.send(endpoints.update_category(name, changes))

    async def geometry_advice(
        self,
        *,
        category: str | None = None,
        width: int | None = None,
        height: int | None = None,
        references: int | None = None,
        **choice: Unpack[models.GeometryChoice],
    ) -> models.Advice:
        """The geometry that it takes to see a defect, and its cost, for example `smallest_defect=12`.

        category, or width and height in pixels: which images are meant. references: to count with. Nothing is encoded;
        `update_category(name, geometry={"smallest_defect": 12})` changes a category.
        """
        return await self._connection.send(endpoints.geometry_advice(category, width, height, references, choice))

    async def coreset(self, name: str) -> models.Coreset:
        """What a category is searched in instead of all its references; NotFound when it has none."""
        return await self._connection.send(endpoints.coreset(name))

    async def condense(self, name: str, *, share: float | None = None, bound: float | None = None) -> models.Coreset:
        """Have few patches of each place searched instead of those of all references: less memory, quicker searches.

        share: so many patches, as a share of the references. bound: as few as raise no score by more than this. Give
        one of the two. They are chosen in the background: see `Category.coreset`.
        """
        return await self._connection.send(endpoints.condense(name, share, bound))

    async def search_all(self, name: str) -> models.Category:
        """Search all references of a category again, and make no coreset of it."""
        return await self._connection.send(endpoints.search_all(name))

    async def remove_category(self, name: str) -> models.Removed:
        """Remove a category with all its references."""
        return await self._connection.send(endpoints.remove_category(name))

    async def removed_categories(self) -> tuple[models.RemovedCategory, ...]:
        """Categories that were removed and can be restored, sorted by name."""
        return (await self._connection.send(endpoints.categories())).removed

    async def restore_category(self, name: str, *, page_size: int = 16) -> models.RestoredCategory:
        """Restore a removed category with its settings and the references removed with it; possible for 30 days.

        page_size: how many references each request restores. Those whose image is lost are listed in `lost`.
        """
        newest = [
            page async for page in self._newest(lambda cursor: endpoints.restore_category(name, cursor, page_size))
        ]
        lost = tuple(reference for page in newest for reference in page.lost)
        return replace(newest[-1], restored=sum(page.restored for page in newest), lost=lost)

    async def preview(
        self, name: str, *, limit: int = 20, **settings: Unpack[models.PreviewedSettings]
    ) -> models.Preview:
        """Compare verdicts under the present and under other settings; nothing is changed.

        limit: how many references and recent inspections to return. Other rates or another threshold are evaluated on
        stored scores; other values of `k`, `rho`, `layer_weights` or `region_of_interest` need a new search.
        """
        return await self._connection.send(endpoints.preview(name, settings, limit))

    async def scores(self, name: str) -> models.Scores:
        """The leave-one-out scores that determine a category's threshold; empty before calibration."""
        return await self._connection.send(endpoints.scores(name))

    async def alignment(self, name: str) -> models.Alignment:
        """Whether the parts of a category lie in the same place in all images, measured on up to 8 references."""
        return await self._connection.send(endpoints.alignment(name))

    async def mask(self, name: str) -> bytes:
        """A category's region of interest as a mask over the whole image: PNG, 256×256, inspected where white."""
        return await self._connection.send(endpoints.mask(name))

    async def set_mask(self, name: str, mask: ImageInput) -> models.Category:
        """Set the region of interest to where a mask over the whole image is not black.

        Polygons are set by `update_category`.
        """
        return await self._connection.send(endpoints.set_mask(name, mask))

    async def drift(self, name: str, *, limit: int = 12) -> models.DriftParts:
        """A category's drift tests, and the parts that moved them most, at most `limit`."""
        return await self._connection.send(endpoints.drift(name, limit))

    async def labelled_images(self, name: str) -> tuple[models.LabelledImage, ...]:
        """The images of a category's labelled test set."""
        return (await self._connection.send(endpoints.labelled_images(name))).images

    async def add_labelled_images(
        self, name: str, images: Iterable[ImageInput], *, defective: bool, limits: BatchLimits = BatchLimits()
    ) -> tuple[models.LabelledImageResult, ...]:
        """Put images of good or of defective parts into a category's test set, in requests within the limits.

        The service evaluates them by itself: see `evaluations`. An image sent again with the other label gets that.
        """
        results: list[models.LabelledImageResult] = []
        for some in batches(images, limits):
            call = endpoints.add_labelled_images(name, some, defective=defective)
            results += (await self._connection.send(call)).results
        return tuple(results)

    async def set_labelled_mask(self, name: str, image_id: int, mask: ImageInput) -> models.LabelledImage:
        """Say where the defect of an image is: a mask that is not black there."""
        return await self._connection.send(endpoints.set_labelled_mask(name, image_id, mask))

    async def labelled_image(self, name: str, image_id: int, *, side: int | None = None) -> bytes:
        """An image of a test set as it was sent, or at most `side` pixels a side."""
        return await self._connection.send(endpoints.labelled_image(name, image_id, side))

    async def remove_labelled_image(self, name: str, image_id: int) -> tuple[models.LabelledImage, ...]:
        """Take an image out of a test set, and return what is left; earlier evaluations keep its result."""
        return (await self._connection.send(endpoints.remove_labelled_image(name, image_id))).images

    async def download_test_set(self, name: str, target: Path) -> None:
        """Write a category's test set and references to a ZIP file, in MVTec-AD's layout."""
        await self._connection.download(endpoints.test_set_dataset(name), target)

    async def evaluations(self, name: str) -> tuple[models.Evaluation, ...]:
        """How a category's test set went, newest first, each against the one before."""
        return (await self._connection.send(endpoints.evaluations(name))).evaluations

    async def tuning(self, name: str) -> models.TuningStatus:
        """A category's latest tuning: its progress, or whether other settings separate its test set better."""
        return await self._connection.send(endpoints.tuning(name))

    async def start_tuning(self, name: str) -> models.TuningStatus:
        """Have the service find out whether other settings separate a category's test set better; nothing is changed.

        It takes a second or so for each image. Conflict when the test set is too small.
        """
        return await self._connection.send(endpoints.start_tuning(name))

    async def cancel_tuning(self, name: str) -> models.TuningStatus:
        """Cancel a category's tuning, or forget its result."""
        return await self._connection.send(endpoints.cancel_tuning(name))

    async def changes_since(self, name: str, evaluation_id: int) -> models.ChangesSince:
        """What has changed in a category since an evaluation: settings, references, encoder, geometry."""
        return await self._connection.send(endpoints.changes_since(name, evaluation_id))

    async def roll_back(self, name: str, evaluation_id: int, *, page_size: int = 16) -> models.RolledBack:
        """Give a category the settings and references again that an evaluation was made with.

        Encoder and geometry stay as they are. page_size: how many references each request restores. Those whose image
        is lost are listed in `lost`.
        """
        pages = [
            page
            async for page in self._newest(lambda cursor: endpoints.roll_back(name, evaluation_id, cursor, page_size))
        ]
        lost = tuple(reference for page in pages for reference in page.lost)
        return replace(pages[-1], restored=sum(page.restored for page in pages), lost=lost)

    async def evaluation(self, name: str, evaluation_id: int) -> models.EvaluationDetail:
        """One evaluation with what was detected in every image."""
        return await self._connection.send(endpoints.evaluation(name, evaluation_id))

    async def restart_drift(self, name: str) -> models.Category:
        """Restart a category's drift tests and clear their flag."""
        return await self._connection.send(endpoints.restart_drift(name))

    # History

    async def inspections(
        self, filter: InspectionFilter = InspectionFilter(), *, page_size: int = 500
    ) -> AsyncIterator[models.Inspection]:
        """Inspections, newest first; newest are requested as the iterator advances."""
        async for page in self._newest(lambda cursor: endpoints.inspections(filter, cursor, page_size)):
            for inspection in page.inspections:
                yield inspection

    async def inspections_csv(self, filter: InspectionFilter = InspectionFilter()) -> str:
        """Inspections as CSV, newest first."""
        return await self._connection.send(endpoints.inspections_csv(filter))

    async def trend(self, filter: InspectionFilter = InspectionFilter(), *, points: int = 60) -> models.Trend:
        """Counts, verdicts and scores over time. points: the maximum number of intervals."""
        return await self._connection.send(endpoints.trend(filter, points))

    async def pareto(self, filter: InspectionFilter = InspectionFilter()) -> models.Pareto:
        """Confirmed defects counted by class, the most frequent first."""
        return await self._connection.send(endpoints.pareto(filter))

    async def download_dataset(self, target: Path, filter: InspectionFilter = InspectionFilter()) -> None:
        """Write the labelled inspections and the references of their categories to a ZIP file, in MVTec-AD's layout.

        The file appears once it is complete. Its `manifest.jsonl` names images that could not be included.
        """
        await self._connection.download(endpoints.dataset(filter), target)

    async def report(
        self,
        filter: InspectionFilter = InspectionFilter(),
        *,
        format: ReportFormat = "pdf",
        max_parts: int = 100,
        time_zone: str = "UTC",
    ) -> bytes:
        """A report of a lot or a shift: counts, yield, defect classes, and the newest defective parts with images.

        max_parts: so many of these, at most 500. time_zone: in which times are written, as `Europe/Berlin`.
        """
        return await self._connection.send(endpoints.report(filter, format, max_parts, time_zone))

    async def inspection(self, inspection_id: str) -> models.Inspection:
        """One inspection."""
        return await self._connection.send(endpoints.inspection(inspection_id))

    async def inspection_image(self, inspection_id: str, *, side: int | None = None) -> bytes:
        """An inspection's image file. side: scale it to fit a square of so many pixels, and return a JPEG.

        After the image has been pruned, its thumbnail is returned where `side` is set.
        """
        return await self._connection.send(endpoints.inspection_image(inspection_id, side))

    async def inspection_map(self, inspection_id: str) -> bytes:
        """An inspection's anomaly map as 16-bit PNG; `maps.decode_png_map` turns it into an array."""
        return await self._connection.send(endpoints.inspection_map(inspection_id))

    async def inspection_heat_map(self, inspection_id: str) -> bytes:
        """An inspection's heat map: a PNG with transparency, to overlay on the whole image."""
        return await self._connection.send(endpoints.inspection_heat_map(inspection_id))

    async def set_label(
        self,
        inspection_id: str,
        label: models.Label | None,
        *,
        confirm: bool = False,
        **details: Unpack[DefectDetails],
    ) -> models.Inspection:
        """Label an inspected part. `good` adds its image to the references; None removes label and reference.

        `defect` may name its class and carry a comment, for example `defect_class="scratch"`; what is left out stays as
        it was, None removes it.

        With an operator's key `good` may wait for review first: `review` is `feedback` and `reviewed_at` None then.
        ConfirmationNeeded when the image would move the threshold far or does not look like the product: show its
        `effect` to a person, and repeat the call with `confirm` to proceed.
        """
        return await self._connection.send(endpoints.set_label(inspection_id, label, confirm, details))

    async def watch(
        self,
        filter: InspectionFilter = InspectionFilter(),
        *,
        poll_interval: float = 1.0,
        start: datetime | None = None,
    ) -> AsyncIterator[models.Inspection]:
        """New inspections, oldest first, without end.

        poll_interval: seconds between requests. start: return inspections from this time on; by default those that are
        recorded after the call. Only the service's clock matters; when it is set back, an inspection of the seconds
        before that may be returned twice.
        """
        poller = InspectionPoller(filter, start)
        if start is None:
            async for inspection in self.inspections(filter, page_size=50):
                if not poller.mark_seen(inspection):
                    break
        while True:
            pages = [page async for page in self._newest(poller.call)]
            for inspection in poller.new(pages):
                yield inspection
            await sleep(poll_interval)

    # Review

    async def review(
        self, *, category: str | None = None, reason: models.ReviewReason | None = None, page_size: int = 100
    ) -> AsyncIterator[models.Inspection]:
        """Inspections that wait for an engineer's decision, newest first; pages are requested as it advances."""
        async for page in self._newest(lambda cursor: endpoints.review(category, reason, cursor, page_size)):
            for inspection in page.inspections:
                yield inspection

    async def decide(
        self, inspection_ids: Iterable[str], decision: ReviewDecision, *, confirm: bool = False
    ) -> tuple[models.Reviewed, ...]:
        """Decide inspections of the review queue, each for itself; what became of each, in order.

        `good` adds the image to the references, `defect` labels the part, `dismiss` does neither, and `reopen` takes a
        decision back. An `error` of the type `/problems/confirmation-needed` is resolved by repeating the call for that
        inspection with `confirm`.
        """
        results: list[models.Reviewed] = []
        remaining = list(dict.fromkeys(inspection_ids))
        while remaining:
            call = endpoints.decide(remaining[:DECISIONS_PER_REQUEST], decision, confirm)
            results += (await self._connection.send(call)).results
            remaining = remaining[DECISIONS_PER_REQUEST:]
        return tuple(results)

    # Stations

    async def stations(self) -> tuple[models.Station, ...]:
        """The stations of line agents with their sources, gates and sinks, as each agent last reported them."""
        return (await self._connection.send(endpoints.stations())).stations

    async def report_station(self, name: str, report: StationReport) -> models.Station:
        """Report a station's state in the place of its earlier report. `silent` stations have stopped reporting."""
        return await self._connection.send(endpoints.report_station(name, report))

    async def send_station_frame(self, name: str, image: ImageInput, *, age_s: float = 0.0) -> models.StationWatch:
        """Send the newest image of a station's camera: a JPEG of at most 640 pixels a side and 512 KiB.

        age_s: seconds since it was taken. It is stored only while somebody watches the station. Problem when it is no
        such JPEG.
        """
        return await self._connection.send(endpoints.send_station_frame(name, image, age_s))

    async def station_frame(self, name: str) -> StationFrame | None:
        """The newest image of a station's camera; None when there is none now.

        For ten seconds after it, the station's agent sends new ones. It learns of it within three seconds. NotFound.
        """
        return await self._connection.send(endpoints.station_frame(name))

    # Administration

    async def storage(self) -> models.Storage:
        """What is stored per category, the retention limits, and the free disk space."""
        return await self._connection.send(endpoints.storage())

    async def access(self) -> models.Access:
        """The identity and the role that the service sees in this client."""
        return await self._connection.send(endpoints.access())

    async def api_keys(self) -> tuple[models.ApiKey, ...]:
        """All API keys, oldest first, including expired and revoked ones."""
        return (await self._connection.send(endpoints.api_keys())).keys

    async def create_api_key(
        self,
        name: str,
        role: models.Role,
        *,
        expires_in_days: float | None = None,
        requests_per_minute: int | None = None,
    ) -> models.NewApiKey:
        """Create an API key. Never retried: after ConnectionFailed, `api_keys` lists it if it was created."""
        call = endpoints.create_api_key(name, role, expires_in_days, requests_per_minute)
        return await self._connection.send(call)

    async def revoke_api_key(self, key_id: str) -> models.ApiKey:
        """Revoke an API key."""
        return await self._connection.send(endpoints.revoke_api_key(key_id))

    async def audit(
        self, *, actor: str | None = None, action: str | None = None, target: str | None = None, page_size: int = 500
    ) -> AsyncIterator[models.AuditEntry]:
        """The audit trail, newest first; newest are requested as the iterator advances."""
        async for page in self._newest(lambda cursor: endpoints.audit(actor, action, target, cursor, page_size)):
            for entry in page.entries:
                yield entry

    # Health

    async def live(self) -> models.Live:
        """Whether the service's process responds."""
        return await self._connection.send(endpoints.live())

    async def ready(self) -> models.Ready:
        """Whether the service can inspect. Unavailable when it cannot."""
        return await self._connection.send(endpoints.ready())

    async def version(self) -> models.Version:
        """The service's version, encoder and upload limits."""
        return await self._connection.send(endpoints.version())

    async def _newest(self, call: Callable[[str | None], Call[P]]) -> AsyncIterator[P]:
        """The newest of a list, each requested with the cursor of the one before."""
        cursor: str | None = None
        while True:
            page = await self._connection.send(call(cursor))
            yield page
            if (cursor := page.next_cursor) is None:
                return
