// The fields by which inspections are chosen, in Live, Review and History.

import { get } from "./api.js";
import { categoryChoice } from "./category-choice.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { VERDICTS } from "./verdict.js";

const TIMES = new Set(["since", "until"]);
export const REASONS = ["near_threshold", "unfamiliar", "feedback"]; // why a part waits for review

const MAKERS = {
  text: () => h("input", { type: "search", maxlength: 128 }),
  verdict: () => h("select", {}, h("option", { value: "" }, t("filter.all")),
    VERDICTS.map((verdict) => h("option", { value: verdict }, t(`verdict.${verdict}`)))),
  station: () => h("input", { type: "text", maxlength: 128, autocomplete: "off" }),
  reason: () => h("select", {}, h("option", { value: "" }, t("filter.all")),
    REASONS.map((reason) => h("option", { value: reason }, t(`review.reason.${reason}`)))),
  label: () => h("select", {}, h("option", { value: "" }, t("filter.all")),
    ["good", "defect"].map((label) => h("option", { value: label }, t(`label.${label}`)))),
  defect_class: () => h("input", { type: "text", maxlength: 128, autocomplete: "off", list: "defect-classes" }),
  since: () => h("input", { type: "datetime-local" }),
  until: () => h("input", { type: "datetime-local" }),
};

/**
 * A form of the fields in `names`, filled from `query` (URLSearchParams). `changed()` is called on a change.
 * Returns { element, addressQuery(), apiQuery() }: what the fields say, as the functions below make it.
 */
export async function filters(names, query, changed, signal) {
  const fields = Object.fromEntries(names.map((name) => [name, MAKERS[name]?.()]));
  const elements = { ...fields };
  let classes = [];
  if (names.includes("category")) {
    const { categories } = await get("/categories", {}, signal);
    const choice = categoryChoice(categories.map(({ name }) => name), t("filter.all"));
    [fields.category, elements.category] = [choice.field, choice.element];
    classes = [...new Set(categories.flatMap(({ settings }) => settings.defect_classes))];
  }
  for (const [name, field] of Object.entries(fields)) {
    field.id = `filter-${name}`;
    field.value = query.get(name) ?? "";
    field.addEventListener("change", changed);
  }
  const element = h("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); changed(); } },
    names.map((name) => h("div", { class: "field" }, h("label", { for: `filter-${name}` }, t(`filter.${name}`)), elements[name])),
    fields.defect_class ? h("datalist", { id: "defect-classes" }, classes.map((name) => h("option", { value: name }))) : null);
  const values = () => Object.fromEntries(Object.entries(fields).map(([name, { value, validity }]) => [name, validity.valid ? value : ""]));
  return { element, addressQuery: () => addressQuery(values()), apiQuery: () => apiQuery(values()) };
}

/** The values of fields as the query of an address: those that are not empty. */
export function addressQuery(values) {
  return new URLSearchParams(filled(values));
}

/** The values of fields as the query of an API call, with local times as times of UTC. */
export function apiQuery(values) {
  return Object.fromEntries(filled(values).map(([name, value]) => [name, TIMES.has(name) ? new Date(value).toISOString() : value]));
}

function filled(values) {
  return Object.entries(values).map(([name, value]) => [name, value.trim()]).filter(([, value]) => value);
}
