import assert from "node:assert/strict";
import { test } from "node:test";

import { broken, path, ticks } from "../../../service/console/static/chart.js";

const same = (value) => value;
const values = (from, to, count) => ticks(from, to, (value) => value.toFixed(3), count).map(([, text]) => Number(text));

test("ticks are round values within the range", () => {
  assert.deepEqual(values(0, 1), [0, 0.5, 1]);
  assert.deepEqual(values(0, 0.83), [0, 0.5]);
  assert.deepEqual(values(0.7, 1, 3), [0.7, 0.8, 0.9, 1]);
  assert.deepEqual(values(3, 47), [20, 40]);
});

test("an empty range has a tick, and no tick is minus zero", () => {
  assert.deepEqual(ticks(2, 2, String), [[2, "2"]]);
  assert.ok(!Object.is(ticks(-0.001, 1, String)[0][0], -0));
});

test("a line is broken where points are further apart than the gap", () => {
  assert.deepEqual(broken([[0, 5], [1, 6], [4, 7], [5, 8]], 2), [[0, 5], [1, 6], [4, null], [4, 7], [5, 8]]);
  assert.deepEqual(broken([[0, 5], [2, 6]], 2), [[0, 5], [2, 6]]);
});

test("a path goes on after a break, and a point alone is a dot", () => {
  assert.equal(path([[0, 1], [1, 2], [1, null], [2, 3]], same, same), "M0.0 1.0h0L1.0 2.0M2.0 3.0h0");
});
