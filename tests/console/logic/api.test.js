import assert from "node:assert/strict";
import { test } from "node:test";

import { Problem, address, get, request, send } from "../../../service/console/static/api.js";
import { onWait } from "../../../service/console/static/connection.js";
import { loadStrings } from "../../../service/console/static/i18n.js";
import { json, serve } from "./service.js";

let waits = [];
onWait((now) => { waits = now; });

/** Serve one answer after the other, the last one again and again; returns the requests that came for the API. */
async function answering(context, ...answers) {
  const requests = [];
  await serve(context, (incoming, response) => {
    if (incoming.url === "/healthz") {
      response.end();
      return;
    }
    requests.push(incoming);
    answers[Math.min(requests.length, answers.length) - 1](response);
  });
  await loadStrings();
  return requests;
}

/** Let whatever waits try again at once, for as long as the promise is not settled. */
async function hurried(promise) {
  let settled = false;
  const over = () => { settled = true; };
  promise.then(over, over);
  while (!settled) {
    waits.forEach((waiting) => waiting.wake());
    await new Promise(setImmediate);
  }
  return promise;
}

const fine = (response) => json(response, 200, { fine: true });
const problem = (status, type, headers = {}) => (response) =>
  json(response, status, { type: `/problems/${type}`, title: "A title", detail: "A detail.", status, request_id: "r1" }, headers);
const cutOff = (response) => response.destroy();

test("a query leaves out what is null, undefined or empty", () => {
  const { pathname, search } = new URL(address("/inspections", { text: "a b&c", cursor: null, station: "", limit: 0, since: undefined }));
  assert.ok(pathname.endsWith("/inspections"));
  assert.equal(search, "?text=a+b%26c&limit=0");
});

test("a body is sent as JSON", async (context) => {
  let body = "";
  await serve(context, async (incoming, response) => {
    for await (const chunk of incoming) body += chunk;
    json(response, 200, { type: incoming.headers["content-type"], method: incoming.method });
  });
  assert.deepEqual(await send("PATCH", "/categories/disc", { k: 3 }), { type: "application/json", method: "PATCH" });
  assert.equal(body, "{\"k\":3}");
});

test("a problem is thrown with all that it tells", async (context) => {
  await answering(context, problem(404, "not-found"));
  await assert.rejects(get("/inspections/x"), (error) => {
    assert.ok(error instanceof Problem);
    assert.deepEqual([error.kind, error.status, error.message, error.requestId, error.passes], ["not-found", 404, "A detail.", "r1", false]);
    return true;
  });
});

test("a GET waits out what passes, as long as the service asks for", async (context) => {
  const requests = await answering(context, problem(503, "busy", { "Retry-After": "7" }), problem(429, "rate-limited", { "Retry-After": "3600" }), fine);
  const pauses = [];
  onWait((now) => { for (const { until } of now) if (until !== null) pauses.push(Math.round((until - performance.now()) / 1000)); });
  assert.deepEqual(await hurried(get("/categories")), { fine: true });
  assert.equal(requests.length, 3);
  assert.deepEqual(pauses, [7, 30]);
  assert.deepEqual(waits, []);
});

test("a request that changes something is sent once unless it is safe to repeat", async (context) => {
  const requests = await answering(context, problem(503, "busy"));
  await assert.rejects(send("POST", "/keys", {}), { status: 503 });
  assert.equal(requests.length, 1);
});

test("what the service refuses is not sent again", async (context) => {
  const requests = await answering(context, problem(422, "invalid-request"));
  await assert.rejects(get("/categories"), { kind: "invalid-request" });
  assert.equal(requests.length, 1);
});

test("a proxy that does not reach the service is an outage", async (context) => {
  await answering(context, (response) => response.writeHead(502).end("<html>Bad gateway</html>"));
  await assert.rejects(request("GET", "/categories", { patient: false }), { kind: "unreachable", status: 0 });
});

test("another answer than JSON is none of Touchstone's", async (context) => {
  await answering(context, (response) => response.end("{\"categories\": ["));
  await assert.rejects(get("/categories"), { kind: "not-touchstone", passes: false });
});

test("a body that breaks every connection is sent three times", async (context) => {
  const requests = await answering(context, cutOff);
  await assert.rejects(hurried(request("POST", "/detect", { json: {}, patient: true })), { kind: "unreachable" });
  assert.equal(requests.length, 3);
});

test("a GET goes on after as many broken connections as there are", async (context) => {
  const requests = await answering(context, cutOff, cutOff, cutOff, cutOff, fine);
  assert.deepEqual(await hurried(get("/categories")), { fine: true });
  assert.equal(requests.length, 5);
});

test("a request ends with its view", async (context) => {
  await answering(context, () => {});
  const leaving = new AbortController();
  const answer = get("/categories", {}, leaving.signal);
  leaving.abort();
  await assert.rejects(answer, { name: "AbortError" });
});
