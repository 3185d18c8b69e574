import assert from "node:assert/strict";
import { test } from "node:test";

import { loadStrings } from "../../../service/console/static/i18n.js";
import { follow } from "../../../service/console/static/stream.js";
import { json, serve } from "./service.js";

const event = (id) => `id: ${id}\nevent: inspection\ndata: ${JSON.stringify({ id })}\n\n`;

/**
 * Follow a service whose connections answer one after the other, until the inspection `until` arrives. Timers are mocked:
 * the pause before the next connection is skipped, and with `silent` the time that the first one may say nothing.
 */
async function followed(context, last, until, connections, { silent = false } = {}) {
  const asked = [];
  await serve(context, (request, response) => {
    asked.push([request.url, request.headers["last-event-id"] ?? null]);
    connections.shift()(response);
  });
  await loadStrings();
  const seen = [];
  const states = [];
  const leaving = new AbortController();
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const following = follow({ station: "press 4" }, last, {
    arrived: ({ id }) => { seen.push(id); if (id === until) leaving.abort(); },
    state: (state) => states.push(state),
    signal: leaving.signal,
  });
  let over = false;
  const done = following.finally(() => { over = true; });
  done.catch(() => {});
  while (!over) {
    await new Promise(setImmediate);
    if (states.at(-1) === "lost") context.mock.timers.tick(2000);
    else if (silent && states.length === 1) context.mock.timers.tick(40_000);
  }
  await done;
  return { seen, states, asked };
}

test("inspections arrive, and after a lost connection from the last one on", async (context) => {
  const { seen, states, asked } = await followed(context, "a", "d", [
    (response) => response.end(event("b") + event("c")),
    (response) => { response.write(event("d")); },
  ]);
  assert.deepEqual(seen, ["b", "c", "d"]);
  assert.deepEqual(states, ["live", "lost", "live"]);
  const path = "/inspections/stream?station=press+4";
  assert.deepEqual(asked, [[path, "a"], [path, "c"]]);
});

test("a connection that says nothing for forty seconds is given up", async (context) => {
  const { states } = await followed(context, null, "b", [
    (response) => { response.write(": alive\n\n"); },
    (response) => { response.write(event("b")); },
  ], { silent: true });
  assert.deepEqual(states, ["live", "lost", "live"]);
});

test("an event that the page cannot show is reported, and the others still arrive", async (context) => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.name);
  context.after(() => { delete globalThis.reportError; });
  const { seen, states } = await followed(context, null, "b", [
    (response) => { response.write("id: a\nevent: inspection\ndata: {\n\n" + event("b")); },
  ]);
  assert.deepEqual([seen, states, reported], [["b"], ["live"], ["SyntaxError"]]);
});

test("a reader that knows none yet asks for those from now on", async (context) => {
  const { asked } = await followed(context, null, "b", [(response) => { response.write(event("b")); }]);
  assert.deepEqual(asked.map(([, last]) => last), [null]);
});

test("it starts from now on where the last one is no longer kept", async (context) => {
  const { asked } = await followed(context, "pruned", "b", [
    (response) => json(response, 404, { type: "/problems/not-found", status: 404 }),
    (response) => { response.write(event("b")); },
  ]);
  assert.deepEqual(asked.map(([, last]) => last), ["pruned", null]);
});

test("a key that may not follow is told so", async (context) => {
  const refuse = (response) => json(response, 403, { type: "/problems/forbidden", status: 403 });
  await assert.rejects(followed(context, null, "b", [refuse]), { kind: "forbidden" });
});
