// What a person says of a confirmed defect: its class, of those that its category has, and a comment.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { bind } from "./keyboard.js";
import { t } from "./i18n.js";

const FRESH_MS = 30_000; // that classes are not asked for again
const DIGITS = 9;
const MAX_COMMENT = 1000;

const known = new Map(); // category → { at, classes }

/** The defect classes of a category; none of one that was removed. */
export function classesOf(category) {
  const cached = known.get(category);
  if (cached && performance.now() - cached.at < FRESH_MS) return cached.classes;
  const classes = get(`/categories/${encodeURIComponent(category)}`).then(({ settings }) => settings.defect_classes, () => []);
  known.set(category, { at: performance.now(), classes });
  return classes;
}

/**
 * While `signal` is not aborted, the digits name the class of a defect that has just been confirmed. A digit that comes
 * before the classes are known waits for them, and does not leave the view.
 */
export async function bindDigits(category, choose, signal) {
  const loading = new AbortController();
  for (let index = 0; index < DIGITS; index += 1) {
    bind([String(index + 1)], t("defect.class"), async () => {
      const name = (await classesOf(category))[index];
      if (name !== undefined) choose(name);
    }, AbortSignal.any([signal, loading.signal]));
  }
  const classes = await classesOf(category);
  loading.abort();
  if (signal.aborted) return;
  classes.slice(0, DIGITS).forEach((name, index) => bind([String(index + 1)], t("defect.choose", { name }), () => choose(name), signal));
}

/**
 * The classes as buttons, and a field for the comment unless `comment` is false. `say` gets what is chosen or written,
 * with null for what is removed. `digits`: whether they choose a class now.
 */
export function defectDetails(inspection, say, { digits = false, comment = true } = {}) {
  const buttons = h("div", { class: "choices classes", role: "group", "aria-label": t("defect.class") });
  const field = h("input", {
    type: "text", id: `comment-${inspection.id}`, maxlength: MAX_COMMENT, autocomplete: "off", value: inspection.comment ?? "",
    onchange: () => say({ comment: field.value.trim() || null }),
  });
  classesOf(inspection.category).then((classes) => {
    const chosen = inspection.defect_class;
    const all = chosen !== null && !classes.includes(chosen) ? [...classes, chosen] : classes;
    fill(buttons, all.map((name, index) => h("button", {
      "aria-pressed": String(name === chosen), onclick: () => say({ defect_class: name === chosen ? null : name }),
    }, name, digits && index < Math.min(DIGITS, classes.length) ? h("kbd", { "aria-hidden": "true" }, String(index + 1)) : null)));
    buttons.hidden = all.length === 0;
    if (digits) buttons.scrollIntoView({ block: "nearest" });
  });
  return h("div", { class: "defect-details" }, buttons,
    comment ? h("div", { class: "field" }, h("label", { for: field.id }, t("defect.comment")), field) : null);
}
