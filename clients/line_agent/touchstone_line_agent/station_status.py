"""What a station knows of itself: errors, what its source, gates and sinks have done, its last part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from touchstone_client import StationComponent, StationPart, StationReport
from touchstone_client.text import sanitize
from touchstone_line_agent.part import GateDecision, InspectionResult, Part

Role: TypeAlias = Literal["source", "gate", "sink", "agent"]

SOURCE = "source"  # its name among errors
_MAX_LENGTH = 500  # of a text in a report
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s'\"]*@)?([^\s/?#'\"]*)([^\s'\"]*)")


@dataclass
class _Activity:
    """What one source, gate or sink has done since the agent started."""

    count: int = 0
    last_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None

    def add(self) -> None:
        self.count += 1
        self.last_at = datetime.now(UTC)


@dataclass
class StationStatus:
    """Present errors by name, and what is reported to the service.

    source: its kind. gates, sinks: the names of decision and record sinks. errors: present ones; what is no source,
    gate or sink among them is a part of the agent itself: the service, the store, a trigger.
    """

    source: str
    gates: Sequence[str]
    sinks: Sequence[str]
    errors: dict[str, str] = field(default_factory=dict)
    _started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _activities: dict[tuple[Role, str], _Activity] = field(default_factory=dict)
    _parts: int = 0
    _last_part: StationPart | None = None

    def report(self, name: str, error: str) -> None:
        """Set an error, or clear it with an empty text."""
        if error:
            self.errors[name] = error
            self.remember(name, error)
        else:
            self.errors.pop(name, None)

    def remember(self, name: str, error: str) -> None:
        """Keep an error as the last one, though it is not present."""
        for role in self._roles(name):
            activity = self._activity(role, name)
            activity.last_error, activity.last_error_at = error, datetime.now(UTC)

    def captured(self) -> None:
        """The source has delivered an image."""
        self._activity("source", SOURCE).add()

    def decided(self, part: Part, decision: GateDecision, result: InspectionResult | None) -> None:
        """A part has its decision."""
        self._parts += 1
        self._last_part = StationPart(
            part_id=part.part_id,
            captured_at=datetime.fromtimestamp(part.captured_at, UTC),
            decision=decision.decision,
            verdict=None if result is None else result.verdict,
            inspection_id=None if result is None else result.inspection_id,
        )

    def received(self, role: Literal["gate", "sink"], name: str) -> None:
        """A gate has received a decision, or a sink a record."""
        self._activity(role, name).add()

    def snapshot(self, source_error: str, *, sends_frames: bool) -> StationReport:
        """All of it as it is reported to the service, without what may be secret in addresses.

        source_error: what the source itself says is wrong now; empty when nothing is. sends_frames: whether images of
        its camera can be watched.
        """
        if source_error:
            self.remember(SOURCE, source_error)
        named: list[tuple[Role, str]] = [("source", SOURCE)]
        named += [("gate", name) for name in self.gates]
        named += [("sink", name) for name in self.sinks]
        named += [key for key in self._activities if key[0] == "agent"]
        errors = {**self.errors, **({SOURCE: source_error} if source_error else {})}
        components = tuple(self._component(role, name, errors.get(name)) for role, name in named)
        return StationReport(self._started_at, self._parts, self._last_part, components, sends_frames)

    def _component(self, role: Role, name: str, error: str | None) -> StationComponent:
        activity = self._activity(role, name)
        return StationComponent(
            role=role,
            name=_public(self.source if role == "source" else name),
            error=_public_or_none(error),
            last_error=_public_or_none(activity.last_error),
            last_error_at=activity.last_error_at,
            count=activity.count,
            last_at=activity.last_at,
        )

    def _roles(self, name: str) -> list[Role]:
        """What an error's name stands for: one broker may be a gate and a sink under one name."""
        roles: list[Role] = ["source"] if name == SOURCE else []
        roles += ["gate"] if name in self.gates else []
        roles += ["sink"] if name in self.sinks else []
        return roles or ["agent"]

    def _activity(self, role: Role, name: str) -> _Activity:
        return self._activities.setdefault((role, name), _Activity())


def _public(text: str) -> str:
    """A text that the service accepts, with of each URL only what is no secret: neither user, nor path, nor query."""
    public = _URL.sub(lambda match: f"{match[1]}{match[2]}{'/…' if match[3].strip('/') else match[3]}", text)
    return sanitize(public, _MAX_LENGTH) or "-"


def _public_or_none(text: str | None) -> str | None:
    return None if text is None else _public(text)
