"""Decides which offered images become references: one policy for the service and the bulk job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from indexer.domain.category import CategorySettings
from indexer.domain.errors import MemoryInactive
from indexer.domain.finding import Finding, FindingKind
from indexer.domain.photo_quality import PhotoQuality
from indexer.memory import EncodedReferences, MemoryBank
from indexer.references.source_image import SourceImage
from indexer.scoring.image_statistics import ImageStatistics
from indexer.screening.outliers import ScreeningResult, images_until_outlier_check
from indexer.screening.screening import Screening, all_findings
from indexer.search import PatchSearchEngine


@dataclass(frozen=True)
class KnownReferences:
    """Statistics of a category's calibrated references, and their photo quality."""

    statistics: Sequence[ImageStatistics]
    qualities: Sequence[PhotoQuality]


@dataclass(frozen=True)
class OnboardingDecision:
    """Which of the images of a request become references, by position.

    accepted: with the findings to store. refused: with the deciding finding. findings: of every image that was
    screened. images_until_outlier_check: how many more images it takes to find outliers among them; None when none was
    screened. known: for the next images of the same run, photo qualities with those of the images accepted, and
    statistics with those of all images measured.
    """

    accepted: Mapping[int, SourceImage]
    refused: Mapping[int, Finding]
    findings: Mapping[int, tuple[Finding, ...]]
    images_until_outlier_check: int | None
    known: KnownReferences


class Onboarding:
    """The images of one request: `compare` each of `count`, as separate steps of work, then `decide`.

    images: in order, with their appearance. codes: by sha256, in the memory's codec, of those that are not references
    yet; others are not screened again, and an image sent twice is screened once. refuse: findings for which an image
    is refused; None takes the category's own. MemoryInactive when the memory was switched to another codec meanwhile.
    """

    def __init__(
        self,
        memory: MemoryBank,
        engine: PatchSearchEngine,
        category: str,
        settings: CategorySettings,
        images: Sequence[SourceImage],
        codes: Mapping[str, EncodedReferences],
        refuse: Collection[FindingKind] | None = None,
    ) -> None:
        if any(code.codec != memory.codec.name for code in codes.values()):
            raise MemoryInactive("the memory was switched to another codec while the images were encoded")
        self._memory, self._images = memory, images
        self._refuse = settings.refuse if refuse is None else refuse
        self._first: dict[str, int] = {}
        for position, image in enumerate(images):
            self._first.setdefault(image.sha256, position)
        self._screened = [position for digest, position in self._first.items() if digest in codes]
        fresh = [images[position] for position in self._screened]
        self._screening = Screening(
            memory,
            engine,
            category,
            settings.scoring,
            [codes[source.sha256] for source in fresh],
            [source.filename for source in fresh],
        )

    @property
    def count(self) -> int:
        """Images to compare."""
        return len(self._screened)

    def compare(self, index: int) -> ScreeningResult:
        """Search for one image among the references and the other images. About the work of two detections."""
        return self._screening.compare(index)

    def decide(self, compared: Sequence[ScreeningResult], known: KnownReferences) -> OnboardingDecision:
        """The decision on each image, after all have been compared."""
        qualities = [_quality(self._images[position]) for position in self._screened]
        all_of_request = all_findings(compared, qualities, known.statistics, known.qualities, self._memory.space.patch)
        findings = {
            position: tuple(self._in_request(finding) for finding in image_findings)
            for position, image_findings in zip(self._screened, all_of_request, strict=True)
        }
        reasons = {
            position: reason
            for position, image_findings in findings.items()
            if (reason := next((finding for finding in image_findings if finding.kind in self._refuse), None))
            is not None
        }
        refused = {
            position: reasons[self._first[image.sha256]]
            for position, image in enumerate(self._images)
            if self._first[image.sha256] in reasons
        }
        accepted = {
            position: replace(image, findings=findings.get(position, ()))
            for position, image in enumerate(self._images)
            if position not in refused
        }
        statistics = [result.statistics for result in compared if result.statistics is not None]
        joined = [_quality(self._images[position]) for position in self._screened if position not in refused]
        return OnboardingDecision(
            accepted,
            refused,
            findings,
            images_until_outlier_check(compared, known.statistics) if self._screened else None,
            KnownReferences([*known.statistics, *statistics], [*known.qualities, *joined]),
        )

    def _in_request(self, finding: Finding) -> Finding:
        """With the position of the image that it was compared with among all that were offered."""
        return (
            finding
            if finding.image_index is None
            else replace(finding, image_index=self._screened[finding.image_index])
        )


def _quality(image: SourceImage) -> PhotoQuality:
    if image.appearance is None:
        raise ValueError("an image is screened with its photo quality")
    return image.appearance
