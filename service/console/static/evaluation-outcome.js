// What a threshold makes of an evaluated test set: which defects escape, and which good parts are rejected.

import { isReject } from "./verdict.js";

/**
 * `results` of an evaluation decided by `threshold`; by their own verdicts where that is null. Returns { missed, rejected,
 * good, defective }: results of defects that escaped, the lowest score first; of good parts rejected, the highest first;
 * and how many of each were decided.
 */
export function outcome(results, threshold) {
  const decided = results.filter(({ score, verdict }) => (threshold === null ? verdict !== null && verdict !== "uncalibrated" : score !== null));
  const isRejected = ({ score, verdict }) => (threshold === null || verdict === "unfamiliar" ? isReject(verdict) : score > threshold);
  const defects = decided.filter(({ image }) => image.defective);
  const goodParts = decided.filter(({ image }) => !image.defective);
  return {
    missed: defects.filter((result) => !isRejected(result)).sort((one, other) => one.score - other.score),
    rejected: goodParts.filter(isRejected).sort((one, other) => other.score - one.score),
    good: goodParts.length,
    defective: defects.length,
  };
}

/** The share of defects that were rejected; null without defects. */
export function recall({ missed, defective }) {
  return defective ? (defective - missed.length) / defective : null;
}

/** The share of defects among what was rejected; null where nothing was. */
export function precision({ missed, rejected, defective }) {
  const found = defective - missed.length;
  return found + rejected.length ? found / (found + rejected.length) : null;
}
