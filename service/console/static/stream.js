// Follows the inspections as they happen. EventSource cannot send a key, so the stream is read with fetch.

import { request } from "./api.js";

const AGAIN_MS = 2000;

/**
 * Calls `arrived(inspection)` for each that matches `query`, from after `last` (an inspection's id, or null for now) until
 * `signal` is aborted, over as many connections as it takes. `state` is told "live" or "lost".
 */
export async function follow(query, last, { arrived, state, signal }) {
  while (!signal.aborted) {
    try {
      const headers = last === null ? {} : { "Last-Event-ID": last };
      const answer = await request("GET", "/inspections/stream", { query, headers, signal });
      state("live");
      for await (const event of events(answer.body)) {
        last = event.id;
        arrived(JSON.parse(event.data));
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.kind === "forbidden") throw error;
      if (error.kind === "not-found") last = null; // what it followed is no longer kept
    }
    if (signal.aborted) return;
    state("lost");
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
      if (fields.event === "inspection") yield fields;
    }
  }
}
