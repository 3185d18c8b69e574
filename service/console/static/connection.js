// Waits while the service cannot answer, and goes on as soon as it can.

import { t } from "./i18n.js";
import { ROOT } from "./root.js";

const MAX_DELAY = 10; // seconds between two tries

const waits = new Set(); // every Waiting that has begun to wait and is not over
const listeners = new Set();
let probing = null;

/** Seconds until the next try, after so many failures before this one: 1, 2, 4, 8, 10, 10, … */
export function delay(failures) {
  return Math.min(MAX_DELAY, 2 ** failures);
}

/** Call `listener(waits)` whenever a wait begins, pauses or ends, with all that have begun and not ended. */
export function onWait(listener) {
  listeners.add(listener);
}

/** What waits between tries: it is told to listeners from the first pause until `over()`. */
export class Waiting {
  #wake = () => {};
  text = "";
  until = null; // performance.now() of the next try; null while it is being made

  /** Wait so many seconds, or until the reader wants to try at once. `text` says what is the matter. */
  async pause(text, seconds, signal = undefined) {
    signal?.throwIfAborted();
    this.text = text;
    this.until = performance.now() + seconds * 1000;
    waits.add(this);
    changed();
    let timer, stop;
    try {
      await new Promise((resolve, reject) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, seconds * 1000);
        stop = () => reject(signal.reason);
        signal?.addEventListener("abort", stop, { once: true });
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
      this.until = null;
      changed();
    }
  }

  wake() {
    this.#wake();
  }

  over() {
    if (waits.delete(this)) changed();
  }
}

/** Wait until the service answers. One request asks, however many wait. Returns whether it did not answer at first. */
export function restored(signal = undefined) {
  probing ??= probed().finally(() => (probing = null));
  return Promise.race([probing, new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  })]);
}

async function probed() {
  const waiting = new Waiting();
  try {
    for (let failures = 0; ; failures += 1) {
      const answer = await fetch(new URL("healthz", ROOT)).catch(() => null);
      if (answer?.ok) return failures > 0;
      await waiting.pause(t("problem.unreachable.title"), delay(failures));
    }
  } finally {
    waiting.over();
  }
}

function changed() {
  for (const listener of listeners) listener([...waits]);
}
