"""Cross-validates the choice among scorings: what it is worth on labelled images that it was not made on.

Repeated stratified cross-validation (Kohavi, IJCAI 1995): the candidate that separates the images of the training folds
best is judged on the fold that was left out. The gain is a mean over pairs of a good and a defective image of one fold,
so its variance is the one of a two-sample U-statistic, estimated from what each image contributes (DeLong et al.,
Biometrics 1988).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

MIN_DEFECTIVE = 8
MIN_GOOD = 16
# Every image judges once and chooses otherwise, so that errors of the folds go together and the variance is estimated
# too low: where no candidate is better, a bound of 95 % is above 0 in up to 10 of 100 simulated sets, one of 99 % in 4.
_BOUND = NormalDist().inv_cdf(0.99)
_FOLDS = 4
_REPEATS = 25
_BLOCK = 1 << 20  # pairs of images, times candidates, that are compared in one step: some 10 ms
_SEED = 0
LEVEL = 0.05  # the share of test sets on which a candidate is called better though none is, at most


@dataclass(frozen=True)
class Choice:
    """The candidate that separates all images best, and what choosing one so is worth.

    best: its index. auroc: of candidate 0. gain: the mean difference of the AUROC to candidate 0, on left-out folds, of
    the candidates chosen on the training folds; low, high: gain ∓ 2.33 standard errors. agreement: the share of
    training folds on which `best` was chosen.
    """

    best: int
    auroc: float
    gain: float
    low: float
    high: float
    agreement: float


def too_few(good: int, defective: int) -> str | None:
    """Why so many images are too few to choose on, as a sentence; None where they are enough.

    With 8 defective images in 4 folds two are left out each time. With fewer the two or three images that differ by
    chance decide; with fewer than twice as many good ones these do.
    """
    if good >= MIN_GOOD and defective >= MIN_DEFECTIVE:
        return None
    return (
        f"At least {MIN_GOOD} good and {MIN_DEFECTIVE} defective test images are needed that can be inspected; there "
        f"are {good} and {defective}."
    )


def cross_validate(scores: NDArray[np.float32], defective: NDArray[np.bool_]) -> Generator[float, None, Choice]:
    """Choose among candidates, and estimate what that is worth; yields the share done.

    scores: float32 (candidates, images), higher is more anomalous; the first is the present one, and of candidates that
    separate alike the earlier one is chosen. defective: bool (images,), of each kind as many as `too_few` asks for.
    """
    good, bad = scores[:, ~defective], scores[:, defective]
    left_out = _folds(good.shape[1], bad.shape[1])
    in_training = tuple((~mask).astype(np.float32) for mask in left_out)
    wins = np.empty(len(scores), np.float64)
    training_wins = np.empty((len(scores), _FOLDS * _REPEATS), np.float32)
    size = max(1, _BLOCK // (good.shape[1] * bad.shape[1]))
    for start in range(0, len(scores), size):
        block = slice(start, start + size)
        pairs = _pairs(good[block], bad[block])  # (block, good, defective)
        wins[block] = pairs.sum(axis=(1, 2), dtype=np.float64)
        training_wins[block] = np.einsum("cgf,fg->cf", pairs @ in_training[1].T, in_training[0])
        yield min(1.0, (start + size) / len(scores))
    chosen = training_wins.argmax(axis=0)
    best = int(wins.argmax())
    present = _pairs(good[:1], bad[:1])[0]
    gains, counts = np.zeros_like(present, np.float64), np.zeros_like(present, np.float64)
    for candidate in np.unique(chosen):
        of_folds = [mask[chosen == candidate].astype(np.float64) for mask in left_out]
        judged = of_folds[0].T @ of_folds[1]  # in how many folds each pair was left out, (good, defective)
        counts += judged
        gains += judged * (_pairs(good[[candidate]], bad[[candidate]])[0] - present)
    gain = float(gains.sum() / counts.sum())
    margin = _BOUND * _standard_error(gains, counts)
    return Choice(best, float(present.mean()), gain, gain - margin, gain + margin, float(np.mean(chosen == best)))


def _folds(good: int, defective: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images are left out, bool (repeats × folds, images), of either kind: each once in a repeat."""
    random = np.random.default_rng(_SEED)
    masks = []
    for count in (good, defective):
        fold = np.stack([random.permutation(np.arange(count) % _FOLDS) for _ in range(_REPEATS)])  # (repeats, images)
        masks.append((fold[:, None] == np.arange(_FOLDS)[:, None]).reshape(-1, count))
    return masks[0], masks[1]


def _pairs(good: NDArray[np.float32], bad: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whether a defective image scores higher than a good one, ½ where alike: float32 (candidates, good, defective)."""
    above, alike = good[:, :, None] < bad[:, None, :], good[:, :, None] == bad[:, None, :]
    pairs: NDArray[np.float32] = above.astype(np.float32) + np.float32(0.5) * alike.astype(np.float32)
    return pairs


def _standard_error(gains: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Of the mean gain, from what each good and each defective image contributes. Both (good, defective)."""
    shares = [gains.sum(axis) / counts.sum(axis) for axis in (0, 1)]
    return float(np.sqrt(sum(share.var(ddof=1) / len(share) for share in shares)))
