// Shows what has to be asked for first; and when that fails, why, until it succeeds.

import { Problem } from "./api.js";
import { delay } from "./connection.js";
import { fill, h } from "./dom.js";
import { problemPanel } from "./toasts.js";
import { t } from "./i18n.js";

const SLOWEST = 30; // seconds between two tries

/**
 * Fill `element` with what `read(signal)` resolves to; with nothing more if that is undefined, because it has filled the
 * element itself. Where it fails, `heading` and the reason are shown, and it is tried again: at a button, and after a
 * while by itself unless the service has refused it. The signal that `read` gets ends with a try that failed.
 */
export async function load(element, signal, read, heading = null) {
  for (let failures = 0; ; failures += 1) {
    const attempt = new AbortController();
    try {
      const content = await read(AbortSignal.any([signal, attempt.signal]));
      if (content !== undefined && !signal.aborted) fill(element, heading, content);
      return;
    } catch (error) {
      attempt.abort();
      if (signal.aborted) return;
      if (!(error instanceof Problem)) reportError(error); // a fault of this page, which its console should tell
      await failed(element, heading, error, failures, signal);
      if (signal.aborted) return;
      fill(element, heading, loading());
    }
  }
}

/** What stands in a place while its content is asked for. */
export function loading() {
  return h("p", { class: "empty loading" }, t("shell.loading"));
}

/** Do something again and again, with a pause after each time. */
export async function repeat(milliseconds, act, signal) {
  while (!signal.aborted) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
    });
    if (!signal.aborted) await act();
  }
}

/** Returns when it is to be tried again, or `signal` is aborted. */
function failed(element, heading, error, failures, signal) {
  return new Promise((resolve) => {
    const goesOn = !(error instanceof Problem) || error.status === 0 || error.status >= 500;
    const seconds = Math.min(SLOWEST, 2 * delay(failures));
    fill(element, heading, problemPanel(error,
      goesOn ? h("p", {}, t("problem.again", { count: seconds })) : null,
      h("div", { class: "actions" }, h("button", { onclick: resolve }, t("problem.now")))));
    if (goesOn) setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", resolve, { once: true });
  });
}
