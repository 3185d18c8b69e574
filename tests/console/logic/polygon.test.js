import assert from "node:assert/strict";
import { test } from "node:test";

import { copied, middle, moved, withCornerMoved, withEdgeSplit, withoutCorner } from "../../../service/console/static/polygon.js";

const SQUARE = [[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]];

test("a polygon moves as a whole and keeps its shape at the image's edges", () => {
  assert.deepEqual(moved(SQUARE, [0.1, -0.2]), [[0.4, 0.1], [0.8, 0.1], [0.8, 0.5], [0.4, 0.5]]);
  assert.deepEqual(moved(SQUARE, [5, 0.1]), [[0.6, 0.4], [1, 0.4], [1, 0.8], [0.6, 0.8]]);
  assert.deepEqual(moved(SQUARE, [-5, -5]), [[0, 0], [0.4, 0], [0.4, 0.4], [0, 0.4]]);
});

test("a corner moves alone and stops at the image's edges", () => {
  assert.deepEqual(withCornerMoved(SQUARE, 1, [0.1, -0.1]), [[0.3, 0.3], [0.8, 0.2], [0.7, 0.7], [0.3, 0.7]]);
  assert.deepEqual(withCornerMoved(SQUARE, 0, [-1, 2])[0], [0, 1]);
});

test("an edge is split in its middle, the last one too", () => {
  assert.deepEqual(middle(SQUARE, 0), [0.5, 0.3]);
  assert.deepEqual(withEdgeSplit(SQUARE, 0), [[0.3, 0.3], [0.5, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]]);
  assert.deepEqual(withEdgeSplit(SQUARE, 3).at(-1), [0.3, 0.5]);
});

test("a corner is taken out", () => {
  assert.deepEqual(withoutCorner(SQUARE, 2), [[0.3, 0.3], [0.7, 0.3], [0.3, 0.7]]);
});

test("coordinates are rounded to five digits", () => {
  assert.deepEqual(withCornerMoved(SQUARE, 0, [1 / 3, 0])[0], [0.63333, 0.3]);
});

test("nothing changes the polygon that it was given", () => {
  const before = JSON.stringify(SQUARE);
  moved(SQUARE, [0.1, 0.1]);
  withCornerMoved(SQUARE, 0, [0.1, 0.1]);
  withEdgeSplit(SQUARE, 0);
  withoutCorner(SQUARE, 0);
  copied([SQUARE])[0][0][0] = 9;
  assert.equal(JSON.stringify(SQUARE), before);
});
