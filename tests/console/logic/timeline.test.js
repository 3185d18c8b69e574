import assert from "node:assert/strict";
import { test } from "node:test";

import { Timeline } from "../../../service/console/static/timeline.js";

test("changes are undone and redone in order, until another is made", () => {
  const timeline = new Timeline();
  timeline.add("a");
  timeline.add("b");
  assert.equal(timeline.undo("c"), "b");
  assert.equal(timeline.undo("b"), "a");
  assert.equal(timeline.undoable, false);
  assert.equal(timeline.redo("a"), "b");
  assert.equal(timeline.redo("b"), "c");
  assert.equal(timeline.redoable, false);
  assert.equal(timeline.undo("c"), "b");
  timeline.add("b");
  assert.equal(timeline.redoable, false);
  timeline.clear();
  assert.equal(timeline.undoable, false);
});
