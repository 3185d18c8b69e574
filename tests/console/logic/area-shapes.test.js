import assert from "node:assert/strict";
import { test } from "node:test";

import { ellipse, rectangle, simplified, stroke } from "../../../service/console/static/area-shapes.js";

const SIZE = { width: 400, height: 200 };

/** Area by the even-odd rule, in fractions of the image: a slit counts nothing. */
function area(polygon) {
  return Math.abs(polygon.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = polygon[(index + 1) % polygon.length];
    return sum + x * nextY - nextX * y;
  }, 0)) / 2;
}

test("a rectangle ends at the image's edges, from whichever corner it is drawn", () => {
  assert.deepEqual(rectangle([0.2, 0.3], [1.4, -1]), [[0.2, 0.3], [1, 0.3], [1, 0], [0.2, 0]]);
});

test("an ellipse fills its rectangle", () => {
  const polygon = ellipse([0.2, 0.1], [0.6, 0.9]);
  assert.ok(Math.abs(area(polygon) - Math.PI * 0.2 * 0.4) < 0.003);
  assert.deepEqual([polygon[0], polygon[8]], [[0.6, 0.5], [0.4, 0.9]]);
});

test("a stroke has the width of the brush in an image of any shape, and few corners", () => {
  const polygon = stroke([[0.2, 0.5], [0.5, 0.5], [0.8, 0.5]], 0.1, SIZE);
  const expected = (0.6 * 400 * 40 + Math.PI * 20 ** 2) / (400 * 200);
  assert.ok(Math.abs(area(polygon) - expected) < 0.002, String(area(polygon)));
  assert.ok(polygon.length < 40, String(polygon.length));
  assert.deepEqual([Math.min(...polygon.map(([, y]) => y)), Math.max(...polygon.map(([, y]) => y))].map((y) => Math.round(10 * y)), [4, 6]);
});

test("a touch of the brush is a disc", () => {
  assert.ok(Math.abs(area(stroke([[0.5, 0.5]], 0.1, SIZE)) - (Math.PI * 20 ** 2) / (400 * 200)) < 0.001);
});

test("a stroke that closes leaves out what it encloses", () => {
  const ring = Array.from({ length: 65 }, (_, index) => [0.5 + 0.15 * Math.cos(index / 10), 0.5 + 0.3 * Math.sin(index / 10)]);
  const expected = (Math.PI * (70 ** 2 - 50 ** 2)) / (400 * 200);
  assert.ok(Math.abs(area(stroke(ring, 0.05, SIZE)) - expected) < 0.003, String(area(stroke(ring, 0.05, SIZE))));
});

test("a stroke beyond the image is cut at its edge, and one outside is none", () => {
  const cut = stroke([[-0.1, 0.5], [0.2, 0.5]], 0.1, SIZE);
  assert.equal(Math.min(...cut.flat()), 0);
  assert.equal(stroke([[3, 3]], 0.1, SIZE), null);
});

test("what lies on a line is no corner", () => {
  assert.deepEqual(simplified([[0, 0], [1, 0], [2, 0], [2, 1], [2, 2], [0, 2], [0, 1]], 0.1).length, 4);
});
