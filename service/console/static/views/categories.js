// Categories: which products are known, how well, and what can be changed about each.
//
// `#/categories` shows all, `#/categories?new` teaches one, `#/categories/bracket/settings` is one page of one.

import { get, picture } from "../api.js";
import { showCategory } from "../category.js";
import { fill, h } from "../dom.js";
import { showOnboarding } from "../onboarding.js";
import { chips } from "../standing.js";
import { t } from "../strings.js";

const THUMBNAILS = 4;
const SIDE = 200;

export async function show(place, { rest: [name, page = "references"], query, signal }) {
  if (query.has("new")) showOnboarding(place, query.get("new"), signal);
  else if (name === undefined) await showAll(place, signal);
  else await showCategory(place, name, page, signal);
}

async function showAll(place, signal) {
  const teach = h("a", { class: "button primary", href: "#/categories?new" }, t("categories.teach"));
  const cards = h("div", { class: "cards" });
  fill(place, h("div", { class: "heading" }, h("h1", {}, t("nav.categories")), teach), cards);
  const { categories } = await get("/categories", {}, signal);
  if (categories.length === 0) fill(place, h("h1", {}, t("nav.categories")), h("div", { class: "empty" }, h("p", {}, t("categories.none")), teach));
  else fill(cards, categories.map(card));
}

function card(category) {
  const thumbnails = h("div", { class: "strip" });
  showThumbnails(thumbnails, category);
  return h("article", { class: "card category-card" },
    h("h2", {}, h("a", { href: `#/categories/${encodeURIComponent(category.name)}` }, category.name)),
    thumbnails,
    h("p", {}, t("categories.references", { count: category.references })),
    h("div", { class: "chips" }, chips(category)),
  );
}

async function showThumbnails(element, { name }) {
  try {
    const { references } = await get("/references", { category: name, limit: THUMBNAILS });
    fill(element, references.map(({ id }) => picture(`/references/${id}/image`, "", { side: SIDE })));
  } catch {
    element.remove(); // a key that may not look at references still sees the counts
  }
}
