import assert from "node:assert/strict";
import { test } from "node:test";

import { passes, runningYield } from "../../../service/console/static/running-yield.js";

test("a label outweighs the verdict", () => {
  assert.equal(passes({ label: null, verdict: "normal" }), true);
  assert.equal(passes({ label: null, verdict: "anomalous" }), false);
  assert.equal(passes({ label: null, verdict: "unfamiliar" }), false);
  assert.equal(passes({ label: "good", verdict: "anomalous" }), true);
  assert.equal(passes({ label: "defect", verdict: "normal" }), false);
});

test("a part without a threshold counts only once it is labelled", () => {
  assert.equal(passes({ label: null, verdict: "uncalibrated" }), null);
  assert.equal(passes({ label: "good", verdict: "uncalibrated" }), true);
});

test("there is no share before the tenth part", () => {
  assert.deepEqual(runningYield(new Array(9).fill(true)), []);
  assert.deepEqual(runningYield([...new Array(9).fill(true), false]), [[9, 0.9]]);
});

test("the share is over the last fifty parts", () => {
  const passed = [...new Array(50).fill(false), ...new Array(50).fill(true)];
  const points = runningYield(passed);
  assert.equal(points.length, 91);
  assert.deepEqual(points[0], [9, 0]);
  assert.deepEqual(points.find(([index]) => index === 74), [74, 0.5]);
  assert.deepEqual(points.at(-1), [99, 1]);
});
