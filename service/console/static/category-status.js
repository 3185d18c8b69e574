// Where a category stands: its references, its threshold, and whether production is still like them.

import { may } from "./access.js";
import { get, send } from "./api.js";
import { fill, h } from "./dom.js";
import { described, leftOut } from "./geometry.js";
import { repeat } from "./loading.js";
import { tell, tellProblem } from "./toasts.js";
import { moment, number, score, t } from "./i18n.js";

const EVERY_MS = 1000;
const DRAWN_ON = ".region-stage:is(:hover, :active)"; // which stands below

/** What is to be known of a category at a glance, as marks with words. */
export function chips({ calibration, drift, geometry, geometry_change: change }) {
  const state = calibration.state === "ready" && !calibration.rate_supported ? "few" : calibration.state;
  const progress = number(100 * calibration.progress);
  return [
    h("span", { class: `chip calibration-${state}` }, t(`calibration.${state}`, { progress, needed: calibration.references_needed })),
    drift && drift.state !== "steady" ? h("span", { class: `chip ${drift.state}` }, t(`drift.${drift.state}`)) : null,
    geometry.inspected.fraction < 1 ? h("span", { class: "chip part-only" }, leftOut(geometry)) : null,
    change === null ? null : h("span", { class: "chip calibration-pending" }, t(change.error === null ? "geometry.chip" : "geometry.stuck", { encoded: change.encoded, references: change.references })),
  ];
}

/** Fill an element with where a category stands. */
export function stand(element, category) {
  const { references, calibration, drift } = category;
  const rows = [
    ["references", number(references)], ["threshold", score(category.settings.threshold ?? calibration.threshold)],
    ["scores", number(calibration.references)], ["needed", number(calibration.references_needed)],
    ["geometry", described(category.geometry)],
    ["duplicates", calibration.duplicates ? number(calibration.duplicates) : null],
    ["since", drift ? t("standing.drift", { count: drift.inspections, since: moment(drift.since) }) : null],
  ];
  fill(element,
    h("div", { class: "chips" }, chips(category),
      drift && drift.state !== "steady" && may("engineer") ? h("button", { onclick: () => restart(element, category) }, t("category.restart")) : null),
    h("dl", { class: "row-facts" }, rows.filter(([, value]) => value !== null)
      .map(([key, value]) => h("div", {}, h("dt", {}, t(`standing.${key}`)), h("dd", {}, value)))));
}

/** Keep that up to date until `signal` is aborted, but not under the reader's hands: it may become higher or lower. */
export function follow(element, name, signal) {
  let shown = "";
  let gone = false;
  repeat(EVERY_MS, async () => {
    if (gone) return;
    try {
      const category = await get(`/categories/${encodeURIComponent(name)}`, {}, signal);
      const seen = JSON.stringify(category);
      if (seen === shown || element.contains(document.activeElement) || document.querySelector(DRAWN_ON) !== null) return;
      shown = seen;
      stand(element, category);
    } catch (error) {
      gone = error.status === 404; // else the next round asks again
      if (gone) fill(element, h("p", { class: "error", role: "alert" }, t("category.gone")));
    }
  }, signal);
}

async function restart(element, { name }) {
  try {
    stand(element, await send("POST", `/categories/${encodeURIComponent(name)}/drift/restart`));
    tell(t("category.restarted"));
  } catch (error) {
    tellProblem(error);
  }
}
