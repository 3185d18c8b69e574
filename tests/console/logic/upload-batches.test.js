import assert from "node:assert/strict";
import { test } from "node:test";

import { batchLength } from "../../../service/console/static/upload-batches.js";

const LIMITS = { max_images: 64, max_request_bytes: 100e6 };
const rows = (...sizes) => sizes.map((size) => ({ file: { size }, refuse: undefined }));

test("a request takes eight images, or fewer where the service allows fewer", () => {
  assert.equal(batchLength(rows(...new Array(20).fill(1000)), LIMITS), 8);
  assert.equal(batchLength(rows(...new Array(20).fill(1000)), { ...LIMITS, max_images: 3 }), 3);
  assert.equal(batchLength(rows(1, 2), LIMITS), 2);
  assert.equal(batchLength([], LIMITS), 0);
});

test("a request takes no more bytes than a slow line or the service allows", () => {
  assert.equal(batchLength(rows(20e6, 20e6, 20e6), LIMITS), 2);
  assert.equal(batchLength(rows(20e6, 20e6, 20e6), { ...LIMITS, max_request_bytes: 30e6 }), 1);
});

test("an image that is too large by itself stands alone", () => {
  assert.equal(batchLength(rows(90e6, 1), LIMITS), 1);
  assert.equal(batchLength(rows(1, 90e6), LIMITS), 1);
});

test("images that are to be screened differently go in different requests", () => {
  const mixed = rows(1, 1, 1);
  mixed[2].refuse = "none";
  assert.equal(batchLength(mixed, LIMITS), 2);
});
