// The share of good parts among the latest ones, as it went.

const WINDOW = 50; // inspections that a point is over
const FEWEST = 10; // inspections before which a share says nothing

/** Whether a part counts as good: by its label, else by its verdict; null without a threshold to hold it against. */
export function passes({ label, verdict }) {
  if (label !== null) return label === "good";
  return verdict === "uncalibrated" ? null : verdict === "normal";
}

/** [[index, share], …]: the share of good parts among the last WINDOW, after each part from the FEWEST-th on. */
export function runningYield(passed) {
  return passed.map((_, index) => {
    const last = passed.slice(Math.max(0, index + 1 - WINDOW), index + 1);
    return [index, last.filter(Boolean).length / last.length];
  }).slice(FEWEST - 1);
}
