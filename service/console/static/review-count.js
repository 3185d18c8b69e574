// How many parts wait for review: the number beside Review in the bar, for those who may decide them.

import { access, may } from "./access.js";
import { request } from "./api.js";
import { repeat } from "./loading.js";

const EVERY_MS = 10_000;

const listeners = new Set();
let waiting = null; // null for who may not decide

/** Say how many wait, as has just been learnt. */
export function setWaiting(count) {
  waiting = count;
  listeners.forEach((listener) => listener(count));
}

/** Call `listener(count)` now and whenever the number may have changed, until `signal` is aborted. */
export function onWaiting(listener, signal) {
  listeners.add(listener);
  signal.addEventListener("abort", () => listeners.delete(listener));
  listener(waiting);
}

/** Ask again and again; an outage is told by what the reader looks at. */
export async function followWaiting(signal) {
  await ask();
  await repeat(EVERY_MS, ask, signal);

  async function ask() {
    try {
      await access();
      setWaiting(may("engineer") ? (await request("GET", "/review", { query: { limit: 1 }, patient: false, signal })).waiting : null);
    } catch {
      // the next round asks again
    }
  }
}
