"""Recall, precision, AUROC and what changed between two evaluations."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from indexer.domain.labelled_set import LabelledResult, compare, summarise


def result(image_id: int, verdict: str | None, score: float | None = 0.5) -> LabelledResult:
    return LabelledResult(image_id, score, 0.4, 0.1, verdict)


def test_what_escapes_and_what_is_rejected_though_good_is_counted_and_compared() -> None:
    truth = {1: True, 2: True, 3: True, 4: False, 5: False, 6: False}
    before = [result(1, "anomalous"), result(2, "normal"), result(3, "unfamiliar"), result(4, "anomalous")]
    after = [*(result(image_id, "normal") for image_id in (1, 5)), result(2, "anomalous"), result(4, "normal")]
    after += [result(3, None, None), result(6, "uncalibrated")]
    summary = summarise(after, truth)
    assert (summary.detected, summary.missed, summary.passed, summary.rejected, summary.undecided) == (1, 1, 2, 0, 2)
    assert (summary.recall, summary.precision) == (0.5, 1.0)
    change = compare(before, after, truth)
    assert (change.newly_missed, change.no_longer_missed) == ((1,), (2,))
    assert (change.newly_rejected, change.no_longer_rejected) == ((), (4,))
    assert summarise([], {}).recall is None


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4]), st.booleans()), min_size=2, max_size=40))
def test_the_auroc_is_scikit_learns(samples: list[tuple[float, bool]]) -> None:
    truth = {image_id: defective for image_id, (_, defective) in enumerate(samples)}
    auroc = summarise([result(image_id, "normal", score) for image_id, (score, _) in enumerate(samples)], truth).auroc
    if len(set(truth.values())) < 2:
        assert auroc is None
    else:
        assert auroc is not None
        assert np.isclose(auroc, roc_auc_score(list(truth.values()), [score for score, _ in samples]))
