// Shows what settings would change, before they are saved.

import { request } from "./api.js";
import { fill, h } from "./dom.js";
import { load } from "./loading.js";
import { number, score, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";
import { VERDICTS, badge } from "./verdict.js";

const LIMIT = 12;
const SIDE = 240;
const WAIT_MS = 350;

/** A panel, and a function that is given settings to try (null: none). The last ones given are what is shown. */
export function previewPanel(name, signal) {
  const content = h("div", { class: "view" });
  const panel = h("section", { class: "card", "aria-label": t("preview.title"), "aria-live": "polite" }, h("h2", {}, t("preview.title")), content);
  let timer = null;
  let asking = new AbortController();
  signal.addEventListener("abort", () => { clearTimeout(timer); asking.abort(); });
  preview(null);
  return { panel, preview };

  function preview(changes) {
    clearTimeout(timer);
    asking.abort();
    asking = new AbortController();
    const mine = asking.signal;
    if (changes === null) {
      fill(content, h("p", { class: "hint" }, t("preview.nothing")));
      return;
    }
    panel.setAttribute("aria-busy", "true");
    timer = setTimeout(async () => {
      const working = setTimeout(() => fill(content, h("p", {}, t("preview.working")), h("progress", { "aria-label": t("preview.working") })), 300);
      await load(content, mine, async (trying) => {
        const path = `/categories/${encodeURIComponent(name)}/preview`;
        try {
          return told(await request("POST", path, { query: { limit: LIMIT }, json: changes, patient: true, signal: trying }));
        } finally {
          clearTimeout(working);
        }
      });
      if (!mine.aborted) panel.removeAttribute("aria-busy");
    }, WAIT_MS);
  }
}

function told(answer) {
  const { before, after } = answer;
  const total = (side) => Object.values(side).reduce((sum, each) => sum + each, 0);
  const changed = answer.inspections.filter((each) => each.before.verdict !== each.after.verdict);
  const others = answer.references.filter((each) => each.before.verdict !== each.after.verdict);
  return [
    h("p", { class: "large" }, t("preview.parts", { changed: answer.changed_inspections, count: total(after.inspections) })),
    h("p", {}, t("preview.references", { changed: answer.changed_references, count: total(after.references) })),
    table(before, after),
    h("p", { class: "hint" },
      t(`preview.basis.${answer.basis}`, { measured: answer.measured, total: total(after.references) }), " ",
      t(answer.searched_again ? "preview.again" : "preview.kept"), " ",
      answer.current ? "" : t("preview.behind"), " ",
      answer.inspections.some(({ stale }) => stale) ? t("preview.stale") : ""),
    changed.length ? h("h3", {}, t("preview.changed")) : null,
    h("ul", { class: "images" }, changed.map((each) => h("li", { class: "image" },
      h("a", { href: `#/history/${each.inspection_id}` }, lazyImage(`/inspections/${each.inspection_id}/image`, each.filename, { side: SIDE })),
      turned(each)))),
    others.length ? h("h3", {}, t("preview.changed.references")) : null,
    h("ul", { class: "images" }, others.map((each) => h("li", { class: "image" },
      lazyImage(`/references/${each.reference_id}/image`, t("reference.name", { id: String(each.reference_id) }), { side: SIDE }), turned(each)))),
  ];
}

function turned({ before, after }) {
  return h("span", { class: "turned" }, badge(before.verdict), h("span", { "aria-label": t("preview.becomes") , role: "img" }, "→"), badge(after.verdict),
    h("span", { class: "hint" }, before.score === after.score ? t("rejects.score", { score: score(after.score) })
      : t("preview.scores", { before: score(before.score), after: score(after.score) })));
}

function table(before, after) {
  const seen = VERDICTS.filter((each) => [before, after].some((side) => side.references[each] || side.inspections[each]));
  const cell = (value) => h("td", { class: "number" }, value);
  const pair = (key, verdict) => `${number(before[key][verdict] ?? 0)} → ${number(after[key][verdict] ?? 0)}`;
  return h("div", { class: "table" }, h("table", {},
    h("thead", {}, h("tr", {}, h("td", {}), h("th", { class: "number", scope: "col" }, t("preview.column.parts")), h("th", { class: "number", scope: "col" }, t("preview.column.references")))),
    h("tbody", {},
      seen.map((each) => h("tr", {}, h("th", { scope: "row" }, badge(each)), cell(pair("inspections", each)), cell(pair("references", each)))),
      h("tr", {}, h("th", { scope: "row" }, t("standing.threshold")),
        h("td", { class: "number", colspan: 2 }, `${score(before.threshold)} → ${score(after.threshold)}`)))));
}
