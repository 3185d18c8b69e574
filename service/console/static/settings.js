// How a category is inspected: its settings, and what others would change.

import { ANYWHERE, alignmentNotice, isRadius } from "./alignment.js";
import { get, send } from "./api.js";
import { fill, h } from "./dom.js";
import { coresetCard } from "./coreset.js";
import { geometryCard } from "./geometry.js";
import { number as decimal, t } from "./i18n.js";
import { previewPanel } from "./settings-preview.js";
import { outdated } from "./outdated.js";
import { tell, tellProblem } from "./toasts.js";
import { guard } from "./unsaved.js";

const ROUNDING = 1e-9;
export const FINDINGS = ["near_duplicate", "outlier", "other_category", "too_dark", "too_bright", "blurred", "framing"];

/** Fill `place` with the category's settings and a preview of what has been changed but not saved. */
export async function showSettings(place, category, signal) {
  const { encoder } = await get("/version", {}, signal);
  const path = `/categories/${encodeURIComponent(category.name)}`;
  const { panel, preview } = previewPanel(category.name, signal);
  let saved = category.settings;
  const number = (key, attributes) => h("input", { id: `set-${key}`, type: "number", required: true, "aria-describedby": `about-${key}`, ...attributes });
  const inputs = {
    false_reject_rate: number("false_reject_rate", { min: 0.0001, max: 99, step: "any" }),
    threshold: number("threshold", { min: 0, max: 2, step: "any", required: false, placeholder: t("settings.calibrated") }),
    unfamiliar_rate: number("unfamiliar_rate", { min: 0.0001, max: 99, step: "any" }),
    k: number("k", { min: 1, max: 100000, step: 1 }),
    rho: number("rho", { min: 0, max: 255, step: 1 }),
    pooled_share: number("pooled_share", { min: 0.001, max: 100, step: "any" }),
    review_band: number("review_band", { min: 0, max: 100, step: "any" }),
  };
  const wrongRadius = h("span", { class: "wrong", role: "status" });
  const balanced = category.calibration.layer_weights;
  const weights = encoder.layers.map((layer, index) => h("input", {
    type: "number", min: 0, step: "any", "aria-label": t("settings.weight", { layer }), "aria-describedby": "about-layer_weights",
    placeholder: balanced ? decimal(balanced[index], 4) : t("settings.calibrated"),
  }));
  const refuse = FINDINGS.map((kind) => h("input", { type: "checkbox", id: `refuse-${kind}`, value: kind }));
  const classes = h("textarea", { id: "set-defect_classes", rows: 4, "aria-describedby": "about-defect_classes" });
  const approval = h("input", { type: "checkbox", id: "set-review_feedback", "aria-describedby": "about-review_feedback" });
  const save = h("button", { class: "primary", disabled: true }, t("settings.save"));
  const back = h("button", { type: "button", disabled: true, onclick: () => { write(saved); changed(); } }, t("settings.back"));
  const form = h("form", { id: "settings", class: "card", oninput: changed, onsubmit: keep, novalidate: true },
    h("h2", {}, t("category.settings")),
    Object.keys(inputs).map((key) => h("div", { class: "field" },
      h("label", { for: `set-${key}` }, t(`settings.${key}`)), inputs[key], h("span", { class: "hint", id: `about-${key}` }, t(`settings.about.${key}`)), key === "rho" ? wrongRadius : null)),
    h("div", { class: "field" }, h("label", { class: "check", for: approval.id }, approval, t("settings.review_feedback")),
      h("span", { class: "hint", id: "about-review_feedback" }, t("settings.about.review_feedback"))),
    h("fieldset", {}, h("legend", {}, t("settings.layer_weights")), h("div", { class: "weights" }, weights),
      h("span", { class: "hint", id: "about-layer_weights" }, t("settings.about.layer_weights"))),
    h("fieldset", {}, h("legend", {}, t("settings.refuse")), refuse.map((box) => h("label", { class: "check", for: box.id }, box, t(`finding.${box.value}`)))),
    h("div", { class: "field" }, h("label", { for: classes.id }, t("settings.defect_classes")), classes,
      h("span", { class: "hint", id: "about-defect_classes" }, t("settings.about.defect_classes"))),
    h("div", { class: "actions" }, save, back),
  );
  write(saved);
  guard(() => (Object.keys(changes()).length ? "unsaved" : null), signal, form);
  const advised = h("div", { role: "status" });
  fill(place, h("div", { class: "two" }, h("div", { class: "view" }, advised, form, geometryCard(category, signal), coresetCard(category, signal)), panel));
  alignmentNotice(path, compareAnywhere, signal).then((notice) => fill(advised, notice), (error) => { if (!signal.aborted) tellProblem(error); });

  /** To be looked at in the preview, and then saved. */
  function compareAnywhere() {
    inputs.rho.value = ANYWHERE;
    changed();
    inputs.rho.focus();
    return true;
  }

  function write(settings) {
    inputs.false_reject_rate.value = Number((settings.false_reject_rate * 100).toPrecision(6));
    inputs.unfamiliar_rate.value = Number((settings.unfamiliar_rate * 100).toPrecision(6));
    inputs.threshold.value = settings.threshold ?? "";
    inputs.k.value = settings.k;
    inputs.rho.value = settings.rho;
    inputs.pooled_share.value = Number((settings.pooled_share * 100).toPrecision(6));
    inputs.review_band.value = Number((settings.review_band * 100).toPrecision(6));
    approval.checked = settings.review_feedback;
    weights.forEach((input, index) => { input.value = settings.layer_weights?.[index] ?? ""; });
    for (const box of refuse) box.checked = settings.refuse.includes(box.value);
    classes.value = settings.defect_classes.join("\n");
  }

  function read() {
    return {
      false_reject_rate: inputs.false_reject_rate.valueAsNumber / 100,
      threshold: inputs.threshold.value === "" ? null : inputs.threshold.valueAsNumber,
      unfamiliar_rate: inputs.unfamiliar_rate.valueAsNumber / 100,
      k: inputs.k.valueAsNumber, rho: inputs.rho.valueAsNumber,
      pooled_share: inputs.pooled_share.valueAsNumber / 100,
      review_band: inputs.review_band.valueAsNumber / 100, review_feedback: approval.checked,
      layer_weights: weights.every(({ value }) => value === "") ? null : weights.map(({ valueAsNumber }) => valueAsNumber),
      refuse: refused(),
      defect_classes: classes.value.split("\n").map((line) => line.trim()).filter(Boolean),
    };
  }

  /** The findings that are ticked; those that were saved in the order in which they were. */
  function refused() {
    const ticked = refuse.filter(({ checked }) => checked).map(({ value }) => value);
    return [...saved.refuse.filter((kind) => ticked.includes(kind)), ...ticked.filter((kind) => !saved.refuse.includes(kind))];
  }

  /** What the form says differently from what is kept. */
  function changes() {
    return differences(read(), saved);
  }

  function changed() {
    const named = weights.some(({ value }) => value !== "");
    for (const input of weights) input.required = named;
    const radius = inputs.rho.value === "" || isRadius(inputs.rho.valueAsNumber) ? "" : t("settings.rho.wrong");
    inputs.rho.setCustomValidity(radius);
    fill(wrongRadius, radius);
    const edited = changes();
    const any = Object.keys(edited).length > 0;
    const valid = form.checkValidity();
    save.disabled = !any || !valid;
    back.disabled = !any;
    const { refuse: _, defect_classes: __, review_band: ___, review_feedback: ____, ...tried } = edited; // which change no verdict
    preview(valid && Object.keys(tried).length > 0 ? tried : null);
  }

  async function keep(event) {
    event.preventDefault();
    const edited = changes();
    if (Object.keys(edited).length === 0) return;
    const before = Object.fromEntries(Object.keys(edited).map((key) => [key, saved[key]]));
    if (await patched(edited)) tell(t("settings.saved"), { text: t("feedback.undo"), act: () => undo(before) });
  }

  async function undo(before) {
    if (!(await patched(before))) return;
    tell(t("settings.undone"));
    if (signal.aborted) outdated(category.name);
  }

  /** Whether the changes were saved. Whatever else is typed, before or meanwhile, is kept, unsaved. */
  async function patched(edited) {
    const [sent, kept] = [read(), saved];
    try {
      saved = (await send("PATCH", path, edited)).settings;
      const typed = Object.entries(read()).filter(([name, value]) => !same(value, sent[name]) || !(name in edited || same(value, kept[name])));
      write({ ...saved, ...Object.fromEntries(typed) });
      changed();
      return true;
    } catch (error) {
      tellProblem(error);
      return false;
    }
  }
}

/** Those of the settings that are different `before`; a percentage may differ by its rounding. */
export function differences(settings, before) {
  return Object.fromEntries(Object.entries(settings).filter(([name, value]) => !same(value, before[name])));
}

function same(one, other) {
  const numbers = typeof one === "number" && typeof other === "number";
  return numbers ? Math.abs(one - other) < ROUNDING : JSON.stringify(one) === JSON.stringify(other);
}
