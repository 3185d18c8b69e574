// Says at the head of the page that the service does not answer, and when it is tried again.

import { onWait } from "./connection.js";
import { fill, h } from "./dom.js";
import { t } from "./i18n.js";

const TICK_MS = 250;

/** Show it in `bar` from now on, for as long as anything waits. */
export function showWaits(bar) {
  let ticking = null;
  onWait((waits) => {
    clearInterval(ticking);
    bar.hidden = waits.length === 0;
    if (bar.hidden) {
      fill(bar);
      return;
    }
    const [{ text }] = waits;
    if (bar.querySelector("[role=status]")?.textContent !== text) { // told once, not at each try
      fill(bar, h("strong", { role: "status" }, text), h("span", { class: "next" }), h("button", {}, t("connection.now")));
    }
    bar.querySelector("button").onclick = () => waits.forEach((waiting) => waiting.wake());
    count(waits);
    ticking = setInterval(() => count(waits), TICK_MS);
  });

  function count(waits) {
    const next = Math.min(...waits.map(({ until }) => until ?? Infinity));
    const seconds = Math.max(1, Math.ceil((next - performance.now()) / 1000));
    fill(bar.querySelector(".next"), next === Infinity ? t("connection.trying") : t("connection.next", { count: seconds }));
  }
}
