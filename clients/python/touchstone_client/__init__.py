"""Client of the Touchstone inspection service: `Client`, `AsyncClient`, and what they take, answer and raise."""

from touchstone_client.answers import (
    AnomalyMap,
    BetterCategory,
    Calibration,
    Category,
    CategorySettings,
    DetectAnswer,
    Detection,
    Drift,
    Evidence,
    Familiarity,
    Finding,
    FindingKind,
    Inspection,
    Judgement,
    Neighbour,
    Reference,
    ReferenceResult,
    Refused,
    Region,
    RegionOfInterest,
    Timings,
    UnfamiliarLevel,
    Verdict,
    Version,
)
from touchstone_client.async_client import AsyncClient
from touchstone_client.calls import InspectionQuery, MapFormat
from touchstone_client.client import Client
from touchstone_client.errors import (
    BadAnswer,
    Conflict,
    InternalError,
    InvalidRequest,
    NoReferences,
    NotAllowed,
    NotFound,
    PictureRefused,
    Problem,
    ProblemDetails,
    StorageFull,
    TooLarge,
    TouchstoneError,
    Unavailable,
    Unreachable,
)
from touchstone_client.onboarding import Onboarded, Progress
from touchstone_client.pictures import Batch, Picture, PictureLike
from touchstone_client.policy import NO_RETRIES, Retries, Timeouts

__all__ = [
    "NO_RETRIES", "AnomalyMap", "AsyncClient", "BadAnswer", "Batch", "BetterCategory", "Calibration", "Category",
    "CategorySettings", "Client", "Conflict", "DetectAnswer", "Detection", "Drift", "Evidence", "Familiarity",
    "Finding", "FindingKind", "Inspection", "InspectionQuery", "InternalError", "InvalidRequest", "Judgement",
    "MapFormat", "Neighbour", "NoReferences", "NotAllowed", "NotFound", "Onboarded", "Picture", "PictureLike",
    "PictureRefused", "Problem", "ProblemDetails", "Progress", "Reference", "ReferenceResult", "Refused", "Region",
    "RegionOfInterest", "Retries", "StorageFull", "Timeouts", "Timings", "TooLarge", "TouchstoneError", "Unavailable",
    "UnfamiliarLevel", "Unreachable", "Verdict", "Version",
]  # fmt: skip
