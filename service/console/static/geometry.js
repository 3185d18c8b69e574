// How fine images are inspected: what it takes to see a defect, what that costs, and how to change it.

import { get, send } from "./api.js";
import { fill, h } from "./dom.js";
import { repeat } from "./loading.js";
import { tell, tellProblem } from "./toasts.js";
import { guard } from "./unsaved.js";
import { bytes, number, percent, t } from "./i18n.js";

const PAUSE_MS = 400; // of typing, before advice is asked for
const EVERY_MS = 1000;
const ON_MISMATCH = ["letterbox", "refuse", "stretch"];

/** A geometry in words. */
export function described({ window: [, , width, height], grid: [rows, columns] }) {
  return t("geometry.described", { width, height, rows, columns });
}

/** How much of an image is not inspected, in words; null where all is. */
export function leftOut({ inspected: { fraction, region } }) {
  return fraction < 1 ? t(region === null ? "geometry.border" : "geometry.part", { share: percent(1 - fraction) }) : null;
}

/**
 * Fields for the smallest defect that matters, and what seeing it costs. `about()`: which images are meant, as the
 * advice takes it, or null while that is not known. Returns { element, choice, ask }: `choice()` is what was said, null
 * where nothing was or it cannot be had; `ask()` has the advice read again.
 */
export function defectFields({ about, changed = () => {}, signal }) {
  const size = h("input", { id: "defect-size", type: "number", min: 0, step: "any", inputmode: "decimal", oninput: typed, "aria-describedby": "defect-advice" });
  const unit = h("select", { id: "defect-unit", "aria-label": t("geometry.unit"), onchange: typed },
    ["pixels", "millimetres"].map((each) => h("option", { value: each }, t(`geometry.${each}`))));
  const scale = h("input", { id: "defect-scale", type: "number", min: 0, step: "any", inputmode: "decimal", oninput: typed });
  const scaled = h("div", { class: "field", hidden: true }, h("label", { for: "defect-scale" }, t("geometry.scale")), scale);
  const advice = h("p", { class: "hint", id: "defect-advice", role: "status" }, t("geometry.optional"));
  const element = h("div", { class: "defect" },
    h("div", { class: "field" }, h("label", { for: "defect-size" }, t("geometry.defect")), h("span", { class: "with-unit" }, size, unit)),
    scaled, advice);
  let timer = null;
  let asking = new AbortController();
  let possible = true;
  signal.addEventListener("abort", () => { clearTimeout(timer); asking.abort(); });

  function said() {
    if (!(size.valueAsNumber > 0)) return null;
    if (unit.value === "pixels") return { smallest_defect: size.valueAsNumber };
    return scale.valueAsNumber > 0 ? { smallest_defect: size.valueAsNumber, millimetres_per_pixel: scale.valueAsNumber } : null;
  }

  function typed() {
    scaled.hidden = unit.value === "pixels";
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE_MS);
    changed();
  }

  async function ask() {
    asking.abort();
    asking = new AbortController();
    const [choice, images] = [said(), about()];
    possible = true;
    if (choice === null || images === null) {
      fill(advice, t(choice === null ? "geometry.optional" : "geometry.waits"));
      changed();
      return;
    }
    try {
      const found = await send("POST", "/geometry/advice", { ...choice, ...images }, AbortSignal.any([signal, asking.signal]));
      fill(advice, t("geometry.cost", {
        what: described(found.geometry), encode: number(found.encode_ms, 0), search: number(found.search_ms, 0),
        each: bytes(found.reference_bytes), references: found.references, all: bytes(found.memory_bytes),
      }));
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      possible = error.status !== 422; // it says what would fit
      fill(advice, error.message || error.title);
    }
    changed();
  }

  return { element, ask, choice: () => (possible ? said() : null), clear: () => { size.value = ""; typed(); } };
}

/** A card that shows a category's geometry and changes it. */
export function geometryCard(category, signal) {
  const path = `/categories/${encodeURIComponent(category.name)}`;
  const now = h("div", {});
  const fields = defectFields({ about: () => ({ category: category.name }), changed, signal });
  const mismatch = h("select", { id: "on-mismatch", onchange: changed }, ON_MISMATCH.map((each) => h("option", { value: each }, t(`geometry.mismatch.${each}`))));
  const save = h("button", { class: "primary", disabled: true }, t("geometry.save"));
  let current = category;
  show(category);
  mismatch.value = category.geometry.on_mismatch;
  repeat(EVERY_MS, async () => {
    if (current.geometry_change === null) return;
    const found = await get(path, {}, signal).catch(() => null); // the next round asks again
    if (found !== null) show(found);
  }, signal);
  const form = h("form", { id: "geometry", class: "card", onsubmit: keep, novalidate: true, "aria-label": t("geometry.title") },
    h("h2", {}, t("geometry.title")), now, fields.element,
    h("div", { class: "field" }, h("label", { for: "on-mismatch" }, t("geometry.mismatch")), mismatch, h("span", { class: "hint" }, t("geometry.mismatch.about"))),
    h("div", { class: "actions" }, save));
  guard(() => (body() === null ? null : "unsaved"), signal, form);
  return form;

  function body() {
    const choice = fields.choice();
    const other = mismatch.value !== current.geometry.on_mismatch ? { on_mismatch: mismatch.value } : null;
    return choice === null && other === null ? null : { ...choice, ...other };
  }

  function changed() {
    save.disabled = body() === null;
  }

  function show(found) {
    current = found;
    const change = found.geometry_change;
    fill(now, h("p", {}, described(found.geometry)), h("p", { class: leftOut(found.geometry) ? "error" : "hint" }, leftOut(found.geometry) ?? t("geometry.whole")),
      change === null ? null : h("div", { class: "changing", role: "status" },
        h("p", {}, t("geometry.changing", { what: described(change.geometry), encoded: change.encoded, references: change.references })),
        h("progress", { max: Math.max(1, change.references), value: change.encoded, "aria-label": t("geometry.progress") }),
        change.error === null ? null : h("p", { class: "error" }, change.error),
        h("button", { type: "button", onclick: cancel }, t("geometry.cancel"))));
  }

  async function keep(event) {
    event.preventDefault();
    const wanted = body();
    if (wanted !== null && await patched(wanted)) {
      fields.clear();
      tell(t(current.geometry_change === null ? "geometry.saved" : "geometry.begun"));
    }
  }

  async function cancel() {
    const { resized, window: part, on_mismatch } = current.geometry;
    if (await patched({ resized, window: part, on_mismatch })) tell(t("geometry.cancelled"));
  }

  async function patched(geometry) {
    try {
      show(await send("PATCH", path, { geometry }));
      mismatch.value = current.geometry.on_mismatch;
      changed();
      return true;
    } catch (error) {
      tellProblem(error);
      return false;
    }
  }
}
