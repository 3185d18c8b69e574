// The parts of a shift, counted: how many there were, and how many were OK and not.

import { isReject } from "./verdict.js";

const HALF_DAY_MS = 12 * 3600 * 1000;

/** When the shift began: as was said (an ISO time, or null) since noon of the day before, else at midnight. */
export function shiftStart(said, now) {
  const midnight = new Date(now);
  midnight.setHours(0, 0, 0, 0);
  const start = new Date(said ?? 0);
  return start > midnight - HALF_DAY_MS ? start : midnight; // a night shift begins before midnight
}

/** { parts, ok, ng } of the points of a trend. */
export function countsOf(points) {
  return points.reduce((counts, { count, verdicts }) => ({
    parts: counts.parts + count,
    ok: counts.ok + (verdicts.normal ?? 0),
    ng: counts.ng + Object.entries(verdicts).reduce((sum, [verdict, number]) => sum + (isReject(verdict) ? number : 0), 0),
  }), { parts: 0, ok: 0, ng: 0 });
}

/** Counts with a part more. */
export function withPart({ parts, ok, ng }, verdict) {
  return { parts: parts + 1, ok: ok + (verdict === "normal"), ng: ng + isReject(verdict) };
}

/** The share of OK parts among those that were OK or not; null while there are none. */
export function shiftYield({ ok, ng }) {
  return ok + ng ? ok / (ok + ng) : null;
}
