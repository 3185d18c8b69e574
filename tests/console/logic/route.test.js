import assert from "node:assert/strict";
import { test } from "node:test";

import { parseRoute } from "../../../service/console/static/route.js";

const parse = (fragment) => parseRoute(fragment, ["inspect", "categories"], "inspect");

test("a fragment names a view, what follows it, and a query", () => {
  const { name, rest, query } = parse("#/categories/M%C3%BCller%2FA/settings?new=1&station=a%20b");
  assert.equal(name, "categories");
  assert.deepEqual(rest, ["Müller/A", "settings"]);
  assert.deepEqual([...query], [["new", "1"], ["station", "a b"]]);
});

test("nothing names the first view", () => {
  for (const fragment of ["", "#", "#/"]) assert.equal(parse(fragment).name, "inspect");
});

test("what is no view is named as none", () => {
  for (const fragment of ["#/toString", "#/constructor", "#/nothing/here", "#/inspect%", "#/categories/%zz"]) {
    assert.equal(parse(fragment).name, "");
  }
});
