import assert from "node:assert/strict";
import { test } from "node:test";

import { BINS, binOf, binned } from "../../../service/console/static/binning.js";
import { needed } from "../../../service/console/static/false-reject-rate.js";
import { nearestRank } from "../../../service/console/static/histogram.js";

test("every value is counted once, the largest in the last bin", () => {
  const counts = binned([0, 0.001, 0.5, 1, 1], 0, 1);
  assert.equal(counts.length, BINS);
  assert.equal(counts.reduce((sum, count) => sum + count, 0), 5);
  assert.deepEqual([counts[0], counts[BINS / 2], counts.at(-1)], [2, 1, 2]);
  assert.equal(binOf(0.999999 / BINS, 0, 1), 0);
  assert.equal(binOf(1.000001 / BINS, 0, 1), 1);
});

test("the line goes to the nearest of the scores that it may go to", () => {
  const scores = [0.1, 0.2, 0.3, 0.4, 0.5];
  assert.equal(nearestRank(scores, 0.9, 3), 1);
  assert.equal(nearestRank(scores, 0.44, 3), 2);
  assert.equal(nearestRank(scores, 0.46, 3), 1);
  assert.equal(nearestRank(scores, 0.0, 3), 3);
  assert.equal(nearestRank(scores, 0.0, 5), 5);
});

test("a rate needs as many references as the conformal p-value does", () => {
  assert.deepEqual([0.05, 0.02, 0.01, 0.1, 0.001, 0.03].map(needed), [19, 49, 99, 9, 999, 33]);
});
