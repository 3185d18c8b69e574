// Values counted in equal parts of a range, for histograms.

export const BINS = 36;

/** The part of `from` to `to` that a value lies in; `to` itself lies in the last. */
export function binOf(value, from, to) {
  return Math.min(BINS - 1, Math.floor(((value - from) / (to - from)) * BINS));
}

/** How many of the values lie in each part. */
export function binned(values, from, to) {
  const counts = new Array(BINS).fill(0);
  for (const value of values) counts[binOf(value, from, to)] += 1;
  return counts;
}
