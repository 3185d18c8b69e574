import assert from "node:assert/strict";
import { test } from "node:test";

import { csvText } from "../../../service/console/static/csv.js";

test("what is missing is an empty cell, and what holds a separator is quoted", () => {
  assert.equal(csvText(["a", "b"], [["x,y", null], ['say "no"', undefined], ["two\nlines", 0.5]]),
    'a,b\r\n"x,y",\r\n"say ""no""",\r\n"two\nlines",0.5\r\n');
});

test("no text is run as a formula, and a negative number stays one", () => {
  assert.equal(csvText(["a"], [["=1+1"], ["-file.png"], ["@x"], [-1.5]]), "a\r\n'=1+1\r\n'-file.png\r\n'@x\r\n-1.5\r\n");
});
