import assert from "node:assert/strict";
import { test } from "node:test";

import { WHOLE, panned, zoomed } from "../../../service/console/static/view-transform.js";

const FRAME = { width: 800, height: 600 };

/** What of the image lies at a point of the frame. */
function under({ scale, x, y }, point) {
  return [(point.x - x) / scale, (point.y - y) / scale];
}

test("what lies under the pointer stays there", () => {
  const point = { x: 200, y: 450 };
  let view = WHOLE;
  for (const factor of [1.4, 2, 1.1, 0.7]) {
    view = zoomed(view, factor, point, FRAME);
    under(view, point).forEach((value, axis) => assert.ok(Math.abs(value - [200, 450][axis]) < 1e-9));
  }
});

test("the image is never smaller than the frame, and sixteen times as large at most", () => {
  assert.deepEqual(zoomed(WHOLE, 0.1, { x: 10, y: 10 }, FRAME), WHOLE);
  assert.equal(zoomed(WHOLE, 1000, { x: 10, y: 10 }, FRAME).scale, 16);
});

test("no part of the frame is left empty", () => {
  const view = zoomed(WHOLE, 2, { x: 400, y: 300 }, FRAME);
  assert.deepEqual(view, { scale: 2, x: -400, y: -300 });
  assert.deepEqual(panned(view, 5000, 5000, FRAME), { scale: 2, x: 0, y: 0 });
  assert.deepEqual(panned(view, -5000, -5000, FRAME), { scale: 2, x: -800, y: -600 });
  assert.deepEqual(panned(WHOLE, 50, -50, FRAME), WHOLE);
  assert.deepEqual(zoomed(panned(view, 5000, 5000, FRAME), 0.5, { x: 800, y: 600 }, FRAME), WHOLE);
});
