import assert from "node:assert/strict";
import { test } from "node:test";

import { dotsOf, nearest, thresholdPoints } from "../../../service/console/static/score-dots.js";

const inspection = (minute, category, score, threshold) => ({ at: `2026-05-06T06:0${minute}:00Z`, category, score, threshold });
const START = Date.parse("2026-05-06T06:00:00Z") / 1000;

test("dots of one product stand at their scores, oldest first, with the threshold of their time", () => {
  const dots = dotsOf([inspection(2, "disc", 0.4, 0.5), inspection(1, "disc", 0.2, null), inspection(0, "disc", 0.1, 0.3)], false);
  assert.deepEqual(dots.map(({ x, y }) => [x - START, y]), [[0, 0.1], [60, 0.2], [120, 0.4]]);
  const line = thresholdPoints(dots, false, START - 10, START + 130);
  assert.deepEqual(line.map(([x, y]) => [x - START, y]), [[-10, 0.3], [0, 0.3], [60, null], [120, 0.5], [130, 0.5]]);
});

test("dots of several products stand at multiples of their thresholds, with a line at 1", () => {
  const dots = dotsOf([inspection(1, "disc", 0.4, 0.5), inspection(0, "plate", 3, 2), inspection(2, "disc", 0.4, null)], true);
  assert.deepEqual(dots.map(({ y }) => y), [1.5, 0.8]);
  assert.deepEqual(thresholdPoints(dots, true, 5, 9), [[5, 1], [9, 1]]);
  assert.deepEqual(thresholdPoints([], false, 5, 9), []);
});

test("a click finds the nearest dot that is near enough", () => {
  assert.equal(nearest([[0, 0], [10, 0], [10, 3]], [9, 2], 5), 2);
  assert.equal(nearest([[0, 0]], [9, 2], 5), -1);
  assert.equal(nearest([], [0, 0], 5), -1);
});
