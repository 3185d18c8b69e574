// One category: where it stands, and its pages.

import { may, needsRole } from "./access.js";
import { get, send } from "./api.js";
import { confirmed } from "./dialog.js";
import { fill, h } from "./dom.js";
import { load, loading } from "./loading.js";
import { tell, tellProblem } from "./toasts.js";
import { showReferences } from "./references.js";
import { showDrift } from "./drift.js";
import { showTestSet } from "./test-set.js";
import { showRegion } from "./region.js";
import { showRejects } from "./false-reject-rate.js";
import { restoreCategory } from "./restoring.js";
import { showSettings } from "./settings.js";
import { follow, stand } from "./category-status.js";
import { t } from "./i18n.js";

const PAGES = { references: showReferences, rejects: showRejects, settings: showSettings, region: showRegion, drift: showDrift, testset: showTestSet };

/** Fill `place` with a category and one of its pages. */
export async function showCategory(place, name, page, signal) {
  const here = `#/categories/${encodeURIComponent(name)}`;
  const chosen = Object.hasOwn(PAGES, page) ? page : "references";
  const standing = h("section", { class: "card standing", "aria-label": t("category.standing") });
  const body = h("div", { class: "view" }, loading());
  const engineers = may("engineer");
  let following = new AbortController();
  signal.addEventListener("abort", () => following.abort());
  fill(place,
    h("div", { class: "heading" },
      h("h1", {}, h("a", { href: "#/categories", class: "up" }, t("nav.categories")), " / ", name),
      engineers ? h("div", { class: "actions" },
        h("a", { class: "button", href: `#/categories?new=${encodeURIComponent(name)}` }, t("category.add")),
        h("button", { class: "danger", onclick: ask }, t("category.remove"))) : null),
    standing,
    !engineers ? null : h("nav", { class: "pages", "aria-label": t("category.pages") }, Object.keys(PAGES).map((each) =>
      h("a", { href: `${here}/${each}`, "aria-current": each === chosen ? "page" : null }, t(`category.${each}`)))),
    body,
  );
  document.title = `${name} · Touchstone`;
  const category = await get(`/categories/${encodeURIComponent(name)}`, {}, signal);
  stand(standing, category);
  follow(standing, name, following.signal);
  if (engineers) await load(body, signal, (mine) => PAGES[chosen](body, category, mine));
  else fill(body, needsRole("engineer"));

  async function ask() {
    const title = t("category.remove.title", { name });
    const content = h("p", {}, t("category.remove.meaning"));
    if (!(await confirmed({ title, content, act: t("category.remove"), keep: t("category.remove.keep") }))) return;
    following.abort(); // what is gone cannot be asked about
    try {
      await send("DELETE", `/categories/${encodeURIComponent(name)}`);
      location.hash = "#/categories";
      tell(t("category.removed", { name }), {
        text: t("feedback.undo"),
        act: async () => { if (await restoreCategory(name)) location.hash = here; },
      });
    } catch (error) {
      tellProblem(error);
      following = new AbortController();
      follow(standing, name, following.signal);
    }
  }
}
