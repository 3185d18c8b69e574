import assert from "node:assert/strict";
import { test } from "node:test";

import { Waiting, delay, onWait, restored } from "../../../service/console/static/connection.js";
import { loadStrings } from "../../../service/console/static/i18n.js";
import { serve } from "./service.js";

let waits = [];
onWait((now) => { waits = now; });

test("pauses double up to ten seconds", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 60].map(delay), [1, 2, 4, 8, 10, 10, 10]);
});

test("a wait is told from its first pause until it is over", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const waiting = new Waiting();
  assert.deepEqual(waits, []);
  const pause = waiting.pause("Away", 2);
  assert.deepEqual(waits.map(({ text }) => text), ["Away"]);
  assert.ok(waits[0].until > performance.now());
  context.mock.timers.tick(2000);
  await pause;
  assert.deepEqual(waits.map(({ until }) => until), [null]);
  waiting.over();
  assert.deepEqual(waits, []);
});

test("a wait ends when the reader wants to try at once", async () => {
  const waiting = new Waiting();
  const pause = waiting.pause("Away", 3600);
  waiting.wake();
  await pause;
  waiting.over();
});

test("a wait ends with its view", async () => {
  const leaving = new AbortController();
  const waiting = new Waiting();
  const pause = waiting.pause("Away", 3600, leaving.signal);
  leaving.abort();
  await assert.rejects(pause, { name: "AbortError" });
  await assert.rejects(waiting.pause("Away", 3600, leaving.signal), { name: "AbortError" });
  waiting.over();
  assert.deepEqual(waits, []);
});

test("one request asks whether the service is back, however many wait", async (context) => {
  const statuses = [503, 200, 200];
  const paths = [];
  await serve(context, (request, response) => {
    paths.push(request.url);
    response.writeHead(statuses.shift()).end();
  });
  await loadStrings();
  const both = Promise.all([restored(), restored()]);
  while (waits.length === 0) await new Promise(setImmediate);
  waits[0].wake();
  assert.deepEqual(await both, [true, true]);
  assert.deepEqual(paths, ["/healthz", "/healthz"]);
  assert.equal(await restored(), false);
});
