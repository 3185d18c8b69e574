"""Recall, precision, AUROC and what changed between two evaluations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from indexer.domain.labelled_set import LabelledOutcome, compare, summarise

DEFECTIVE = {1, 2, 3}


def outcome(image_id: int, verdict: str | None, score: float | None = 0.5) -> LabelledOutcome:
    return LabelledOutcome(image_id, image_id in DEFECTIVE, score, verdict, None)


def test_what_escapes_and_what_is_rejected_though_good_is_counted_and_compared() -> None:
    before = [outcome(1, "anomalous"), outcome(2, "normal"), outcome(3, "unfamiliar"), outcome(4, "anomalous")]
    after = [*(outcome(image_id, "normal") for image_id in (1, 5)), outcome(2, "anomalous"), outcome(4, "normal")]
    after += [outcome(3, None, None), outcome(6, "uncalibrated")]
    summary = summarise(after)
    assert (summary.detected, summary.missed, summary.passed, summary.rejected, summary.undecided) == (1, 1, 2, 0, 2)
    assert (summary.recall, summary.precision) == (0.5, 1.0)
    change = compare(before, after)
    assert (change.newly_missed, change.no_longer_missed) == ((1,), (2,))
    assert (change.newly_rejected, change.no_longer_rejected) == ((), (4,))
    assert summarise([]).recall is None


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.booleans()), min_size=2, max_size=40))
def test_the_auroc_is_scikit_learns(samples: list[tuple[float, bool]]) -> None:
    truth = [defective for _, defective in samples]
    auroc = summarise(
        [LabelledOutcome(image_id, *sample[::-1], "normal", None) for image_id, sample in enumerate(samples)]
    ).auroc
    if len(set(truth)) < 2:
        assert auroc is None
    else:
        assert auroc is not None
        assert np.isclose(auroc, roc_auc_score(truth, [score for score, _ in samples]))
