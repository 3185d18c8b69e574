import assert from "node:assert/strict";
import { test } from "node:test";

import { canvasSize, frameAround } from "../../../service/console/static/compare.js";

const region = (box, patch) => ({ box, nearest_patch: { box: patch } });
const CELL = [0.5, 0.5, 0.02, 0.02];

function close(frame, expected) {
  for (const [name, value] of Object.entries(expected)) assert.ok(Math.abs(frame[name] - value) < 1e-9, `${name}: ${frame[name]}`);
}

test("a region is shown with half of its size around it", () => {
  close(frameAround(region([400, 400, 200, 200], CELL), 1000, 1000), { x: 0.35, y: 0.35, width: 0.3, height: 0.3 });
});

test("a small region is shown with seven cells at least", () => {
  close(frameAround(region([500, 500, 10, 10], CELL), 1000, 1000), { x: 0.435, y: 0.435, width: 0.14, height: 0.14 });
});

test("what is shown is a square in pixels", () => {
  close(frameAround(region([400, 200, 200, 100], [0.5, 0.5, 0.01, 0.02]), 1000, 500), { width: 0.3, height: 0.6 });
});

test("what is shown stays inside the image", () => {
  close(frameAround(region([0, 950, 50, 50], CELL), 1000, 1000), { x: 0, y: 0.86 });
  close(frameAround(region([0, 0, 1000, 1000], CELL), 1000, 1000), { x: 0, y: 0, width: 1, height: 1 });
});

test("a patch without a place, from an older release, needs none", () => {
  close(frameAround(region([400, 400, 200, 200], null), 1000, 1000), { width: 0.3, height: 0.3 });
});


test("no canvas is larger than a browser draws, however long the image is, and none is empty", () => {
  assert.deepEqual(canvasSize(1), { width: 480, height: 480 });
  assert.deepEqual(canvasSize(4), { width: 480, height: 120 });
  assert.deepEqual(canvasSize(1 / 4), { width: 120, height: 480 });
  assert.deepEqual(canvasSize(1 / 4000), { width: 1, height: 480 });
  assert.deepEqual(canvasSize(4000), { width: 480, height: 1 });
});
