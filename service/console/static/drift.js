// Whether production is still like a category's references, which parts moved that, and an alert where parts are watched.

import { may } from "./access.js";
import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { repeat } from "./loading.js";
import { moment, number, score, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";
import { badge } from "./verdict.js";

const EVERY_MS = 10_000;
const SIDE = 240;

/** Fill `place` with where a category's drift tests stand, and the parts that moved them most. */
export async function showDrift(place, { name }, signal) {
  const { drift, parts } = await get(`/categories/${encodeURIComponent(name)}/drift`, {}, signal);
  fill(place,
    h("section", { class: "card" }, h("h2", {}, t("drift.title")),
      drift === null ? h("p", {}, t("drift.none")) : [
        h("p", {}, t(`drift.${drift.state}.meaning`)),
        h("p", { class: "hint" }, t("drift.evidence", {
          scene: number(drift.scene.max_evidence, 1), scores: number(drift.scores.max_evidence, 1), alarm: number(drift.alarm),
          inspections: number(drift.inspections), since: moment(drift.since),
        })),
      ]),
    drift === null || drift.state === "steady" ? null : [h("h2", {}, t("drift.parts")), h("ul", { class: "images" }, parts.map(tile))]);
}

function tile({ id, filename, verdict, novelty }) {
  return h("li", { class: "image" },
    h("a", { href: `#/history/${id}`, "aria-label": t("drift.part", { verdict: t(`verdict.${verdict}`), median: score(novelty.scene_distance) }) },
      lazyImage(`/inspections/${id}/image`, "", { side: SIDE })),
    h("span", { class: "name" }, filename), badge(verdict), h("span", { class: "hint" }, score(novelty.scene_distance)));
}

/** An alert for as long as a category's production is unlike its references; empty while none is. */
export function driftAlert(signal) {
  const element = h("div", { class: "alerts", role: "status" });
  let shown = "";
  const look = async () => {
    const { categories } = await get("/categories", {}, signal).catch(() => ({ categories: null })); // the next round asks again
    const moved = categories?.filter(({ drift }) => drift && drift.state !== "steady") ?? null;
    const seen = moved && JSON.stringify(moved.map(({ name, drift }) => [name, drift.state]));
    if (moved === null || seen === shown) return;
    shown = seen;
    fill(element, moved.map(({ name, drift: { state } }) => h("p", { class: `alert ${state}` },
      h("strong", {}, t(`drift.alert.${state}`, { category: name })), " ",
      may("engineer") ? h("a", { href: `#/categories/${encodeURIComponent(name)}/drift` }, t("drift.alert.parts")) : null)));
  };
  look().then(() => repeat(EVERY_MS, look, signal));
  return element;
}
