// Follows the inspections as they happen.

import { request } from "./api.js";
import { events } from "./event-stream.js";

const AGAIN_MS = 2000;
const SILENT_MS = 40_000; // the service says something every 15 s: a connection that says nothing for so long is dead

/**
 * Calls `arrived(inspection)` for each that matches `query`, from after `last` (an inspection's id, or null for now) until
 * `signal` is aborted, over as many connections as it takes. `state` is told "live" or "lost".
 */
export async function follow(query, last, { arrived, state, signal }) {
  while (!signal.aborted) {
    const connection = new AbortController();
    try {
      const headers = last === null ? {} : { "Last-Event-ID": last };
      const body = await request("GET", "/inspections/stream", {
        query, headers, signal: AbortSignal.any([signal, connection.signal]), read: (answer) => answer.body,
      });
      state("live");
      for await (const event of events(alive(body, connection), "inspection")) {
        last = event.id;
        try {
          arrived(JSON.parse(event.data));
        } catch (error) {
          reportError(error); // a fault of this page, which its console should tell, and which ends no connection
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.kind === "forbidden") throw error;
      if (error.kind === "not-found") last = null; // what it followed is no longer kept
    }
    if (signal.aborted) return;
    state("lost");
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/** What a stream holds, as text, until it ends or has been silent for too long. */
async function* alive(body, connection) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const silent = setTimeout(() => connection.abort(), SILENT_MS);
    try {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    } finally {
      clearTimeout(silent);
    }
  }
}
