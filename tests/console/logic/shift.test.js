import assert from "node:assert/strict";
import { test } from "node:test";

import { countsOf, shiftStart, shiftYield, withPart } from "../../../service/console/static/shift.js";

test("a shift begins when it was said to, else at midnight", () => {
  const now = new Date(2026, 4, 6, 14, 30);
  const midnight = new Date(2026, 4, 6);
  const morning = new Date(2026, 4, 6, 6, 0);
  assert.deepEqual(shiftStart(null, now), midnight);
  assert.deepEqual(shiftStart(morning.toISOString(), now), morning);
});

test("a night shift began the evening before, an older one is over", () => {
  const now = new Date(2026, 4, 6, 3, 0);
  const evening = new Date(2026, 4, 5, 22, 0);
  assert.deepEqual(shiftStart(evening.toISOString(), now), evening);
  assert.deepEqual(shiftStart(new Date(2026, 4, 5, 11, 59).toISOString(), now), new Date(2026, 4, 6));
});

test("parts of every verdict are counted, OK and NG those with one", () => {
  const points = [
    { count: 5, verdicts: { normal: 3, anomalous: 1, uncalibrated: 1 } },
    { count: 2, verdicts: { normal: 1, unfamiliar: 1 } },
  ];
  assert.deepEqual(countsOf(points), { parts: 7, ok: 4, ng: 2 });
  assert.deepEqual(countsOf([]), { parts: 0, ok: 0, ng: 0 });
});

test("a part more is counted as the trend would count it", () => {
  for (const verdict of ["normal", "anomalous", "unfamiliar", "uncalibrated"]) {
    assert.deepEqual(withPart(countsOf([]), verdict), countsOf([{ count: 1, verdicts: { [verdict]: 1 } }]));
  }
});

test("the yield leaves out parts that were neither OK nor NG", () => {
  assert.equal(shiftYield({ parts: 10, ok: 6, ng: 2 }), 0.75);
  assert.equal(shiftYield({ parts: 3, ok: 0, ng: 0 }), null);
});
