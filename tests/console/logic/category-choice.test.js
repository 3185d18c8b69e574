import assert from "node:assert/strict";
import { test } from "node:test";

import { meant } from "../../../service/console/static/category-choice.js";

const NAMES = ["bolt", "bolt-2", "Nut", "nut", "gear"];

test("a text means the category that it names, in capitals or not", () => {
  assert.equal(meant("bolt", NAMES), "bolt");
  assert.equal(meant(" nut ", NAMES), "nut");
  assert.equal(meant("Nut", NAMES), "Nut");
  assert.equal(meant("GEAR", NAMES), "gear");
});

test("a part of a name means the only category that has it", () => {
  assert.equal(meant("t-2", NAMES), "bolt-2");
  assert.equal(meant("bol", NAMES), null);
  assert.equal(meant("cog", NAMES), null);
});

test("no text means no category in particular", () => {
  assert.equal(meant("  ", NAMES), "");
});
