import assert from "node:assert/strict";
import { test } from "node:test";

import { addressQuery, apiQuery } from "../../../service/console/static/filters.js";

test("an address holds what is not empty, as it was typed", () => {
  assert.equal(addressQuery({ text: " a&b ", station: "  ", since: "2026-05-06T14:00" }).toString(), "text=a%26b&since=2026-05-06T14%3A00");
  assert.equal(addressQuery({ text: "" }).size, 0);
});

test("the API gets local times as times of UTC", () => {
  const query = apiQuery({ station: "press 4", since: "2026-05-06T14:00", until: "" });
  assert.deepEqual(query, { station: "press 4", since: new Date(2026, 4, 6, 14).toISOString() });
  assert.match(query.since, /Z$/);
});
