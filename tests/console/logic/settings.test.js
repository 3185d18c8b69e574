import assert from "node:assert/strict";
import { test } from "node:test";

import { differences } from "../../../service/console/static/settings.js";

const SAVED = { false_reject_rate: 0.07, threshold: null, k: 150, layer_weights: null, refuse: ["outlier"], region_of_interest: null };

test("what is as saved is no difference, nor is the rounding of a percentage", () => {
  assert.deepEqual(differences({ ...SAVED, refuse: ["outlier"] }, SAVED), {});
  assert.deepEqual(differences({ false_reject_rate: 7.000000000000001 / 100 }, SAVED), {});
});

test("only what differs is told", () => {
  const settings = { ...SAVED, k: 3, threshold: 0.5, layer_weights: [1, 1], refuse: [] };
  assert.deepEqual(differences(settings, SAVED), { k: 3, threshold: 0.5, layer_weights: [1, 1], refuse: [] });
  assert.deepEqual(differences({ threshold: null }, { threshold: 0.5 }), { threshold: null });
});

test("what is not a number differs from every number", () => {
  assert.deepEqual(differences({ k: NaN }, SAVED), { k: NaN });
});
