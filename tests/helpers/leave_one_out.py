"""Leave-one-out results, computed to the end and compared."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from indexer.calibration.leave_one_out import LeaveOneOut, Steps


def finished(steps: Steps) -> LeaveOneOut:
    """The result of all steps."""
    shares = []
    while True:
        try:
            shares.append(next(steps))
        except StopIteration as end:
            assert all(0 < one <= other <= 1.0001 for one, other in pairwise(shares))
            result: LeaveOneOut = end.value
            return result


def assert_same(one: LeaveOneOut, other: LeaveOneOut) -> None:
    """Fails unless both are of the same searches, up to rounding."""
    assert one.ids.tolist() == other.ids.tolist()
    assert one.groups.tolist() == other.groups.tolist()
    assert [set(candidate.tolist()) for candidate in one.candidates] == [
        set(candidate.tolist()) for candidate in other.candidates
    ]
    np.testing.assert_allclose(one.best, other.best, atol=1e-5)
    np.testing.assert_allclose(one.nearest, other.nearest, atol=1e-6)
