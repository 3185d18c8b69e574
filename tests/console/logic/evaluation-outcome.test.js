import assert from "node:assert/strict";
import { test } from "node:test";

import { outcome, precision, recall } from "../../../service/console/static/evaluation-outcome.js";

const result = (id, defective, score, verdict) => ({ image: { id, defective }, score, verdict });
const RESULTS = [
  result(1, false, 0.1, "normal"), result(2, false, 0.35, "anomalous"), result(3, false, 0.2, "normal"),
  result(4, true, 0.3, "normal"), result(5, true, 0.25, "normal"), result(6, true, 0.9, "anomalous"),
  result(7, true, 0.05, "unfamiliar"), result(8, false, 0.4, "uncalibrated"), result(9, true, null, null),
];
const ids = (results) => results.map(({ image }) => image.id);

test("without another threshold the verdicts decide; what has none is left out", () => {
  const { missed, rejected, good, defective } = outcome(RESULTS, null);
  assert.deepEqual([ids(missed), ids(rejected), good, defective], [[5, 4], [2], 3, 4]);
});

test("another threshold decides by score, and an unfamiliar part stays rejected", () => {
  const { missed, rejected, good, defective } = outcome(RESULTS, 0.15);
  assert.deepEqual([ids(missed), ids(rejected), good, defective], [[], [8, 2, 3], 4, 4]);
  assert.deepEqual(ids(outcome(RESULTS, 1).missed), [5, 4, 6]);
});

test("a score at the threshold is not rejected", () => {
  assert.deepEqual(ids(outcome(RESULTS, 0.9).missed), [5, 4, 6]);
});

test("recall and precision are shares, and null where nothing is to be shared", () => {
  const own = outcome(RESULTS, null);
  assert.equal(recall(own), 0.5);
  assert.equal(precision(own), 2 / 3);
  assert.equal(recall(outcome([RESULTS[0]], null)), null);
  assert.equal(precision(outcome([RESULTS[0]], null)), null);
});
