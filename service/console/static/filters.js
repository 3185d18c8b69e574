// The fields by which inspections are chosen, in Live and in History.

import { get } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { VERDICTS } from "./verdict.js";

const MAKERS = {
  text: () => h("input", { type: "search", maxlength: 128 }),
  category: () => h("select", {}, h("option", { value: "" }, t("filter.all"))),
  verdict: () => h("select", {}, h("option", { value: "" }, t("filter.all")),
    VERDICTS.map((each) => h("option", { value: each }, t(`verdict.${each}`)))),
  station: () => h("input", { type: "text", maxlength: 128, autocomplete: "off" }),
  label: () => h("select", {}, h("option", { value: "" }, t("filter.all")),
    ["good", "defect"].map((each) => h("option", { value: each }, t(`label.${each}`)))),
  defect_class: () => h("input", { type: "text", maxlength: 128, autocomplete: "off", list: "defect-classes" }),
  since: () => h("input", { type: "datetime-local" }),
  until: () => h("input", { type: "datetime-local" }),
};

/**
 * A form of the fields in `names`, filled from `query` (URLSearchParams). `changed()` is called on a change.
 * Returns { element, asked() → the query of an API call, kept() → the query of an address }.
 */
export async function filters(names, query, changed, signal) {
  const fields = Object.fromEntries(names.map((name) => [name, MAKERS[name]()]));
  let classes = [];
  if (fields.category) {
    const { categories } = await get("/categories", {}, signal);
    fields.category.append(...categories.map(({ name }) => h("option", { value: name }, name)));
    classes = [...new Set(categories.flatMap(({ settings }) => settings.defect_classes))];
  }
  for (const [name, field] of Object.entries(fields)) {
    field.id = `filter-${name}`;
    field.value = query.get(name) ?? "";
    field.addEventListener("change", changed);
  }
  const element = h("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); changed(); } },
    names.map((name) => h("div", { class: "field" }, h("label", { for: `filter-${name}` }, t(`filter.${name}`)), fields[name])),
    fields.defect_class ? h("datalist", { id: "defect-classes" }, classes.map((name) => h("option", { value: name }))) : null);
  const given = () => Object.entries(fields).map(([name, { value }]) => [name, value.trim()]).filter(([, value]) => value);
  return {
    element,
    kept: () => new URLSearchParams(given()),
    asked: () => Object.fromEntries(given().map(([name, value]) =>
      [name, name === "since" || name === "until" ? new Date(value).toISOString() : value])),
  };
}
