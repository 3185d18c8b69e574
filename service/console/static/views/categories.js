// Categories: which products are known, how well, and what can be changed about each.
//
// `#/categories` shows all, `#/categories?new` teaches one, `#/categories/bracket/settings` is one page of one.

import { may, needsRole } from "../access.js";
import { get } from "../api.js";
import { MOST_LISTED } from "../category-choice.js";
import { showCategory } from "../category.js";
import { fill, h } from "../dom.js";
import { load, loading, repeat } from "../loading.js";
import { showOnboarding } from "../onboarding.js";
import { restoreCategory } from "../restoring.js";
import { chips } from "../category-status.js";
import { moment, t } from "../i18n.js";
import { lazyImage } from "../lazy-image.js";

const THUMBNAILS = 4;
const SIDE = 200;
const EVERY_MS = 2000;

export async function show(place, { rest: [name, page = "references"], query, signal }) {
  if (query.has("new")) teach(place, query.get("new"), signal);
  else if (name === undefined) await showAll(place, signal);
  else await showCategory(place, name, page, signal);
}

function teach(place, known, signal) {
  if (may("engineer")) showOnboarding(place, known, signal);
  else fill(place, h("h1", {}, t("nav.categories")), needsRole("engineer"));
}

async function showAll(place, signal) {
  const add = may("engineer") ? h("a", { class: "button primary", href: "#/categories?new" }, t("categories.teach")) : null;
  const cards = h("div", { class: "cards" }, loading());
  fill(place, h("div", { class: "heading" }, h("h1", {}, t("nav.categories")), add), cards);
  const { categories, removed } = await get("/categories", {}, signal);
  const marks = new Map(categories.map((each) => [each.name, h("div", { class: "chips" }, chips(each))]));
  const shown = categories.map((each) => card(each, marks.get(each.name), signal));
  fill(cards, shown.length ? shown : h("p", { class: "empty" }, t("categories.none")));
  if (categories.length > MOST_LISTED) cards.before(finder(categories, shown));
  if (removed.length && may("engineer")) place.append(gone(removed));
  repeat(EVERY_MS, async () => {
    const now = await get("/categories", {}, signal).catch(() => ({ categories: [] })); // the next round asks again
    for (const each of now.categories) if (marks.has(each.name)) fill(marks.get(each.name), chips(each));
  }, signal);
}

/** A field that leaves the cards whose category's name contains what is typed. */
function finder(categories, shown) {
  const told = h("span", { role: "status" });
  const text = h("input", { type: "search", id: "find-category", maxlength: 128, oninput: find });
  return h("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
    h("div", { class: "field" }, h("label", { for: "find-category" }, t("categories.find")), text), told);

  function find() {
    const sought = text.value.trim().toLowerCase();
    shown.forEach((article, index) => { article.hidden = !categories[index].name.toLowerCase().includes(sought); });
    fill(told, sought ? t("categories.found", { found: shown.filter((article) => !article.hidden).length, total: shown.length }) : "");
  }
}

/** What was removed and can be brought back. */
function gone(removed) {
  return h("section", { class: "card", "aria-label": t("categories.removed") }, h("h2", {}, t("categories.removed")),
    h("ul", { class: "gone" }, removed.map(({ name, removed_at: at, references }) => {
      const done = h("progress", { max: Math.max(1, references), value: 0, hidden: true, "aria-label": t("categories.restoring", { name }) });
      return h("li", {}, h("strong", {}, name),
        h("span", { class: "hint" }, t("categories.removed.at", { at: moment(at) }), " · ", t("categories.references", { count: references })),
        done,
        h("button", { "aria-label": t("categories.restore.of", { name }), onclick: async () => {
          done.hidden = false;
          if (await restoreCategory(name, (count) => { done.value = count; })) location.hash = `#/categories/${encodeURIComponent(name)}`;
          else done.hidden = true;
        } }, t("categories.restore")));
    })));
}

function card(category, marks, signal) {
  const thumbnails = h("div", { class: "strip" });
  if (may("engineer")) load(thumbnails, signal, (mine) => strip(category, mine));
  return h("article", { class: "card category-card" },
    h("h2", {}, h("a", { href: `#/categories/${encodeURIComponent(category.name)}` }, category.name)),
    thumbnails,
    h("p", {}, t("categories.references", { count: category.references })),
    marks,
  );
}

async function strip({ name }, signal) {
  const { references } = await get("/references", { category: name, limit: THUMBNAILS }, signal);
  return references.map(({ id }) => lazyImage(`/references/${id}/image`, "", { side: SIDE }));
}
