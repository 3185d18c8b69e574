// Why a part has no verdict: its category is being calibrated, or has too few references, or was not ready then.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { number, percent, t } from "./i18n.js";

const EVERY_MS = 1000;

/** Fill `element` with that, as long as it changes; `again`, where there is one, inspects the part once more. */
export async function explain(element, category, again, signal) {
  fill(element, h("p", {}, t("verdict.uncalibrated.meaning")));
  try {
    for (let shown = true; shown; shown = await pause(signal)) {
      const { calibration, settings, references } = await get(`/categories/${encodeURIComponent(category)}`, {}, signal);
      fill(element, h("p", {}, said(calibration, settings, references)),
        calibration.state === "ready" && calibration.rate_supported && again ? h("button", { onclick: again }, t("uncalibrated.again")) : null);
      if (calibration.state !== "pending") return;
    }
  } catch {
    // the category was removed, or is none of the reader's: what stands there is true of any
  }
}

function said({ state, rate_supported: supported, progress, references: scores, references_needed: needed }, settings, references) {
  if (state === "pending") return t("uncalibrated.pending", { progress: number(100 * progress) });
  if (state === "ready" && supported) return t("uncalibrated.ready");
  return t("uncalibrated.few", { have: state === "none" ? references : scores, needed, rate: percent(settings.false_reject_rate) });
}

function pause(signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), EVERY_MS);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(false); }, { once: true });
  });
}
