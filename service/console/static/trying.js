// Trying a product out: is a good part passed, and a defective one found? Nothing of it is recorded.

import { request } from "./api.js";
import { cameraButton } from "./camera.js";
import { fill, h } from "./dom.js";
import { dropArea } from "./file-drop.js";
import { load, loading } from "./loading.js";
import { t } from "./i18n.js";
import { badge, scoreBar } from "./verdict.js";
import { viewer } from "./viewer.js";

/** A good and a bad part, each to be dropped, chosen or taken, and what the category's verdict on it is. */
export function tryParts(category, signal) {
  return h("div", { class: "cards" }, ["good", "bad"].map((kind) => tryPart(category, kind, signal)));
}

function tryPart(category, kind, signal) {
  const result = h("div", { "aria-live": "polite" });
  const camera = cameraButton(inspect);
  let showing = new AbortController();
  signal.addEventListener("abort", () => showing.abort());
  return h("section", { class: "card", "aria-label": t(`try.${kind}`) }, h("h3", {}, t(`try.${kind}`)),
    dropArea({
      text: t(`try.${kind}.drop`), multiple: false, signal, id: `try-${kind}`, choose: t(`try.${kind}.choose`), main: false,
      take: ([file]) => inspect(file), more: [camera].filter(Boolean),
    }), result);

  async function inspect(file) {
    showing.abort();
    showing = new AbortController();
    fill(result, loading());
    const form = new FormData();
    form.append("category", category);
    form.append("record", "false");
    form.append("images", file, file.name);
    await load(result, showing.signal, async (mine) => {
      const { results: [detection] } = await request("POST", "/detect", { form, patient: true, signal: mine });
      return told(detection, file);
    });
  }

  function told(detection, file) {
    const shown = viewer({ size: detection, regions: detection.regions, alt: file.name, choose: () => {}, warmed: false, inspected: detection.inspected });
    shown.image.src = URL.createObjectURL(file);
    shown.image.addEventListener("load", () => URL.revokeObjectURL(shown.image.src), { once: true });
    shown.image.addEventListener("error", () => shown.missing(t("inspection.format")), { once: true });
    const passes = detection.verdict === "normal";
    const said = detection.verdict === "uncalibrated" ? detection.advice : t(`try.${kind}.${passes ? "passed" : "rejected"}`);
    return [
      h("p", { class: "large" }, badge(detection.verdict)), h("p", { class: passes === (kind === "good") ? null : "error" }, said),
      scoreBar(detection), shown.element,
    ];
  }
}
