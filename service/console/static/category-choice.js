// Choosing one of the categories: from a list, and where there are many by typing a part of the name.

import { h } from "./dom.js";
import { t } from "./i18n.js";

export const MOST_LISTED = 20;

let choices = 0; // made so far, each list with a name of its own

/**
 * A field for one of `names` or none, which `any` says. Returns { element, field }: `field.value` is the name or "", and
 * "change" is heard when it is another; `element` holds the field.
 */
export function categoryChoice(names, any) {
  if (names.length <= MOST_LISTED) {
    const field = h("select", {}, h("option", { value: "" }, any), names.map((name) => h("option", { value: name }, name)));
    return { element: field, field };
  }
  const list = `categories-${++choices}`;
  const field = h("input", { type: "search", list, placeholder: any, autocomplete: "off", maxlength: 128 });
  field.addEventListener("input", () => field.setCustomValidity(""));
  field.addEventListener("change", (event) => { // before whoever else listens
    const name = meant(field.value, names);
    if (name !== null) field.value = name;
    field.setCustomValidity(name === null ? t("category.unknown") : "");
    if (field.reportValidity()) return;
    event.stopImmediatePropagation();
  });
  return { element: h("span", { class: "field" }, field, h("datalist", { id: list }, names.map((name) => h("option", { value: name })))), field };
}

/** Which of `names` a text means: the one that it is, else the only one that contains it; "" for no text, null for none. */
export function meant(text, names) {
  const sought = text.trim().toLowerCase();
  if (sought === "") return "";
  const containing = names.filter((name) => name.toLowerCase().includes(sought));
  const exact = names.find((name) => name === text.trim()) ?? containing.find((name) => name.toLowerCase() === sought);
  return exact ?? (containing.length === 1 ? containing[0] : null);
}
