"""Keeps every category's leave-one-out scores in step with its references, in the owner's spare time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from indexer.calibration import Calibration, leave_one_out
from indexer.catalogue import Category
from indexer.memory import Memory
from indexer.scoring import ScoringSettings
from indexer.search import Engine
from service.owner import Owner, Stopped


@dataclass(frozen=True)
class Basis:
    """What a calibration depends on: the category's live references and how they are scored."""

    references: tuple[int, ...]
    settings: ScoringSettings

    @classmethod
    def of(cls, memory: Memory, category: str, settings: ScoringSettings) -> Basis:
        """As a snapshot has it now."""
        return cls(tuple(memory.ids[memory.rows_of(category)].tolist()), settings)


class Calibrations:
    """The latest finished calibration of each category, and the task that renews them.

    A reference is scored against its own category only, so that onboarding one product never moves another's threshold.
    Each reference is one step at the lowest priority: a detection waits for one step at most.
    """

    def __init__(self, owner: Owner, engine: Engine, snapshot: Callable[[], Memory]) -> None:
        self._owner = owner
        self._engine = engine
        self._snapshot = snapshot
        self._found: dict[str, tuple[Basis, Calibration]] = {}

    def of(self, category: str) -> Calibration | None:
        """The latest finished calibration, even if references have come or gone since."""
        found = self._found.get(category)
        return found[1] if found else None

    def is_current(self, memory: Memory, category: str, settings: ScoringSettings) -> bool:
        """Whether the latest calibration is of the references and settings there are now."""
        found = self._found.get(category)
        return found is not None and found[0] == Basis.of(memory, category, settings)

    async def renew(self, categories: list[Category]) -> None:
        """Calibrate whatever is out of date, and forget categories that are gone."""
        for gone in self._found.keys() - {category.name for category in categories}:
            del self._found[gone]
        for category in categories:
            await self._renew(category.name, category.settings.scoring)

    async def _renew(self, category: str, settings: ScoringSettings) -> None:
        memory = self._snapshot()
        basis = Basis.of(memory, category, settings)
        found = self._found.get(category)
        if found is not None and found[0] == basis:
            return
        scores: dict[int, float] = {}
        steps = leave_one_out(memory, self._engine, category, settings)
        try:
            while (step := await asyncio.wrap_future(self._owner.calibrate(lambda _: next(steps, None)))) is not None:
                scores[step[0]] = step[1]
                newest = self._snapshot()
                if newest is not memory and Basis.of(newest, category, settings) != basis:
                    return  # references have changed meanwhile: the next round starts from what there is then
        except Stopped:
            return
        self._found[category] = (basis, Calibration.of(category, memory.version, scores))
