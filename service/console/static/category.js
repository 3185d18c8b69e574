// One category: where it stands, and its pages.

import { get, request } from "./api.js";
import { fill, h } from "./dom.js";
import { tell, tellProblem } from "./notices.js";
import { showReferences } from "./references.js";
import { showRegion } from "./region.js";
import { showRejects } from "./rejects.js";
import { showSettings } from "./settings.js";
import { follow, stand } from "./standing.js";
import { t } from "./strings.js";

const PAGES = { references: showReferences, rejects: showRejects, settings: showSettings, region: showRegion };

/** Fill `place` with a category and one of its pages. */
export async function showCategory(place, name, page, signal) {
  const here = `#/categories/${encodeURIComponent(name)}`;
  const chosen = page in PAGES ? page : "references";
  const standing = h("section", { class: "card standing", "aria-label": t("category.standing") });
  const body = h("div", { class: "view" });
  fill(place,
    h("div", { class: "heading" },
      h("h1", {}, h("a", { href: "#/categories", class: "up" }, t("nav.categories")), " / ", name),
      h("div", { class: "actions" },
        h("a", { class: "button", href: `#/categories?new=${encodeURIComponent(name)}` }, t("category.add")),
        h("button", { class: "danger", onclick: () => remove(name) }, t("category.remove")))),
    standing,
    h("nav", { class: "pages", "aria-label": t("category.pages") }, Object.keys(PAGES).map((each) =>
      h("a", { href: `${here}/${each}`, "aria-current": each === chosen ? "page" : null }, t(`category.${each}`)))),
    body,
  );
  document.title = `${name} · Touchstone`;
  const category = await get(`/categories/${encodeURIComponent(name)}`, {}, signal);
  stand(standing, category);
  follow(standing, name, signal);
  await PAGES[chosen](body, category, signal);
}

function remove(name) {
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "remove-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "remove-title" }, t("category.remove.title", { name })),
      h("p", {}, t("category.remove.meaning")),
      h("div", { class: "actions" },
        h("button", { value: "keep", class: "primary" }, t("category.remove.keep")),
        h("button", { value: "remove", class: "danger" }, t("category.remove")))));
  dialog.addEventListener("close", async () => {
    dialog.remove();
    if (dialog.returnValue !== "remove") return;
    try {
      await request("DELETE", `/categories/${encodeURIComponent(name)}`);
      location.hash = "#/categories";
      tell(t("category.removed", { name }));
    } catch (error) {
      tellProblem(error);
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}
