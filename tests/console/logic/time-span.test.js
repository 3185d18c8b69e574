import assert from "node:assert/strict";
import { test } from "node:test";

import { fieldText, shiftStarts, timeSpan } from "../../../service/console/static/time-span.js";

const STARTS = shiftStarts("22:00, 6:00,14:00");
const span = (name, now) => Object.values(timeSpan(name, STARTS, now)).map(fieldText);

test("the times at which shifts begin are read in order, each once", () => {
  assert.deepEqual(STARTS, [360, 840, 1320]);
  assert.deepEqual(shiftStarts("07:30"), [450]);
  assert.deepEqual(shiftStarts("07:30, 7:30"), [450]);
});

test("what is no time of the day is no shift", () => {
  for (const text of ["", "24:00", "7:60", "7", "07:30,", "noon", "07:30 14:00"]) assert.equal(shiftStarts(text), null, text);
});

test("a shift begins at the last of its times, a night shift the day before", () => {
  assert.deepEqual(span("this-shift", new Date(2026, 4, 6, 14, 0)), ["2026-05-06T14:00", ""]);
  assert.deepEqual(span("last-shift", new Date(2026, 4, 6, 14, 0)), ["2026-05-06T06:00", "2026-05-06T14:00"]);
  assert.deepEqual(span("this-shift", new Date(2026, 4, 6, 5, 59)), ["2026-05-05T22:00", ""]);
  assert.deepEqual(span("last-shift", new Date(2026, 4, 6, 5, 59)), ["2026-05-05T14:00", "2026-05-05T22:00"]);
});

test("with one shift a day, the last one began a day before this one", () => {
  const { since, until } = timeSpan("last-shift", [450], new Date(2026, 4, 1, 7, 0));
  assert.deepEqual([since, until].map(fieldText), ["2026-04-29T07:30", "2026-04-30T07:30"]);
});

test("days begin at midnight, also where the clock is changed", () => {
  const now = new Date(2026, 2, 29, 12, 0); // Europe/Berlin: this day has 23 hours
  assert.deepEqual(span("today", now), ["2026-03-29T00:00", ""]);
  assert.deepEqual(span("yesterday", now), ["2026-03-28T00:00", "2026-03-29T00:00"]);
  assert.deepEqual(span("week", now), ["2026-03-23T00:00", ""]);
  assert.deepEqual(span("this-shift", now), ["2026-03-29T06:00", ""]);
});
