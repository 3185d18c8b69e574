"""What to do where there are too few references for a category's false-reject rate."""

from __future__ import annotations

from indexer.calibration.conformal import references_needed, smallest_rate
from indexer.domain.verdict import DecisionSettings


def rate_advice(settings: DecisionSettings, references: int) -> str | None:
    """One sentence that says how verdicts are to be had; None where so many references are enough for them.

    references: how many count, no duplicates; before a calibration, how many there are, which is the most that can.
    """
    if settings.threshold is not None:
        return None
    rate, needed = settings.false_reject_rate, references_needed(settings.false_reject_rate)
    if references < 2:
        return "Every verdict is 'uncalibrated' until there are two different references or more: add good parts."
    if references >= needed:
        return None
    return (
        f"Every verdict is 'uncalibrated': a false-reject rate of {100 * rate:g} % needs {needed} references, and "
        f"there are {references}. Set false_reject_rate to {smallest_rate(references):g} or more, or add "
        f"{needed - references} good parts."
    )
