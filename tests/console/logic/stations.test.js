import assert from "node:assert/strict";
import { test } from "node:test";

import { stationState } from "../../../service/console/static/stations.js";

const working = { error: null };

test("a station fails when one of its parts does, and a silent one is silent whatever it said last", () => {
  assert.equal(stationState({ silent: false, components: [working, working] }), "working");
  assert.equal(stationState({ silent: false, components: [working, { error: "no connection" }] }), "failing");
  assert.equal(stationState({ silent: true, components: [{ error: "no connection" }] }), "silent");
});
