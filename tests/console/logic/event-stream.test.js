import assert from "node:assert/strict";
import { test } from "node:test";

import { events } from "../../../service/console/static/event-stream.js";

const STREAM = ": alive\n\nid: 7\nevent: inspection\ndata: {\"id\": \"a:b\"}\n\nevent: drift\ndata: 1\n\nid:8\nevent:inspection\ndata:{}\n\nid: 9\nevent: insp";

async function read(texts) {
  const list = [];
  for await (const event of events(texts, "inspection")) list.push(event);
  return list;
}

test("events of the name are read, comments and others are ignored", async () => {
  assert.deepEqual(await read([STREAM]), [
    { id: "7", event: "inspection", data: "{\"id\": \"a:b\"}" },
    { id: "8", event: "inspection", data: "{}" },
  ]);
});

test("the text may break anywhere", async () => {
  const whole = await read([STREAM]);
  for (let cut = 0; cut <= STREAM.length; cut += 1) assert.deepEqual(await read([STREAM.slice(0, cut), STREAM.slice(cut)]), whole);
  assert.deepEqual(await read([...STREAM]), whole);
});

test("an event that was cut off is not passed on", async () => {
  assert.deepEqual(await read(["id: 9\nevent: inspection\ndata: {}"]), []);
});
