// Says that good parts lie anywhere, where they do, and offers to compare their patches with those of all places.

import { get } from "./api.js";
import { h, once } from "./dom.js";
import { percent, t } from "./i18n.js";

export const ANYWHERE = 255; // the ρ of it
const MAX_RADIUS = 16; // cells

/** Whether the service takes a ρ. */
export function isRadius(rho) {
  return rho <= MAX_RADIUS || rho === ANYWHERE;
}

/**
 * A notice about the parts of the category under `path`, with a button that calls `apply()`; null where patches are rightly compared
 * with those around them.
 */
export async function alignmentNotice(path, apply, signal) {
  const { advice, distance_left: left, references } = await get(`${path}/alignment`, {}, signal);
  if (advice === null) return null;
  const notice = h("section", { class: "card", "aria-label": t("alignment.title") },
    h("p", {}, t("alignment.advice", { left: percent(left, 0), references })),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: once(async () => { if (await apply()) notice.remove(); }) }, t("alignment.apply"))));
  return notice;
}
