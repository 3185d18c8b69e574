// Inspect: is the part in this picture good, and if not, where and why?

import { get, request } from "../api.js";
import { fill, h } from "../dom.js";
import { dropArea } from "../drop.js";
import { problemPanel } from "../notices.js";
import { t } from "../strings.js";
import { badge, scoreBar } from "../verdict.js";

export async function show(place, { signal }) {
  const result = h("div", { "aria-live": "polite" });
  const choice = h("select", { id: "category" }, h("option", { value: "" }, t("inspect.any")));
  fill(place,
    h("h1", {}, t("nav.inspect")),
    h("div", { class: "field" }, h("label", { for: "category" }, t("inspect.category")), choice),
    dropArea({ text: t("inspect.drop"), multiple: false, signal, take: ([file]) => inspect(file) }),
    result,
  );
  const { categories } = await get("/categories", {}, signal);
  choice.append(...categories.map(({ name }) => h("option", { value: name }, name)));

  async function inspect(file) {
    fill(result, h("p", {}, t("inspect.working")));
    const form = new FormData();
    if (choice.value) form.append("category", choice.value);
    form.append("images", file, file.name);
    try {
      const [found] = (await (await request("POST", "/detect", { form, signal })).json()).results;
      fill(result, h("section", { class: "card" }, badge(found.verdict), scoreBar(found)));
    } catch (error) {
      if (error.kind === undefined) throw error;
      fill(result, problemPanel(error));
    }
  }
}
