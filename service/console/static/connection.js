// Waits while the service cannot answer, says so at the head of the page, and goes on as soon as it can.

import { fill, h } from "./dom.js";
import { t } from "./i18n.js";

const LONGEST = 10; // seconds between two tries
const TICK_MS = 250;

const shown = new Set(); // every Waiting that has begun to wait and is not over
let probing = null;
let ticking = null;

/** Seconds until the next try, after so many failures before this one: 1, 2, 4, 8, 10, 10, … */
export function delay(failures) {
  return Math.min(LONGEST, 2 ** failures);
}

/** What waits between tries. The page says so from the first wait until `over()`. */
export class Waiting {
  #wake = () => {};
  text = "";
  until = null; // performance.now() of the next try; null while it is being made

  /** Wait so many seconds, or until the reader wants to try at once. `text` says what is the matter. */
  async pause(text, seconds, signal = undefined) {
    signal?.throwIfAborted();
    this.text = text;
    this.until = performance.now() + seconds * 1000;
    shown.add(this);
    show();
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
      show();
    }
  }

  wake() {
    this.#wake();
  }

  over() {
    if (shown.delete(this)) show();
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
      const answer = await fetch(new URL("../healthz", import.meta.url)).catch(() => null);
      if (answer?.ok) return failures > 0;
      await waiting.pause(t("problem.unreachable.title"), delay(failures));
    }
  } finally {
    waiting.over();
  }
}

function show() {
  const place = document.getElementById("connection");
  clearInterval(ticking);
  place.hidden = shown.size === 0;
  if (place.hidden) {
    fill(place);
    return;
  }
  const [{ text }] = shown;
  if (place.querySelector("[role=status]")?.textContent !== text) { // told once, not at each try
    fill(place, h("strong", { role: "status" }, text), h("span", { class: "next" }),
      h("button", { onclick: () => shown.forEach((each) => each.wake()) }, t("connection.now")));
  }
  count();
  ticking = setInterval(count, TICK_MS);

  function count() {
    const next = Math.min(...[...shown].map(({ until }) => until ?? Infinity));
    const seconds = Math.max(1, Math.ceil((next - performance.now()) / 1000));
    fill(place.querySelector(".next"), next === Infinity ? t("connection.trying") : t("connection.next", { count: seconds }));
  }
}
