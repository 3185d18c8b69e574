// Inspect: is the part in this image good, and if not, where and why?

import { get, request } from "../api.js";
import { cameraButton, takePhoto } from "../camera.js";
import { fill, h } from "../dom.js";
import { dropArea } from "../file-drop.js";
import { inspectionPanel } from "../inspection.js";
import { bind } from "../keyboard.js";
import { load } from "../loading.js";
import { t } from "../i18n.js";

const REMEMBERED = "touchstone-category";
const UNRECORDED = "touchstone-unrecorded";

export async function show(place, { signal }) {
  const result = h("div", { class: "holder", "aria-live": "polite" });
  const choice = h("select", { id: "category", onchange: () => { sessionStorage.setItem(REMEMBERED, choice.value); inspect(); } },
    h("option", { value: "" }, t("inspect.any")));
  const record = h("input", { type: "checkbox", id: "record", checked: sessionStorage.getItem(UNRECORDED) === null,
    onchange: () => record.checked ? sessionStorage.removeItem(UNRECORDED) : sessionStorage.setItem(UNRECORDED, "1") });
  const camera = cameraButton(took);
  const area = dropArea({ text: t("inspect.drop"), multiple: false, signal, take: ([chosen]) => { file = chosen; inspect(); }, more: [camera].filter(Boolean) });
  let file = null;
  let showing = new AbortController();
  signal.addEventListener("abort", () => showing.abort());
  fill(place,
    h("div", { class: "heading" }, h("h1", {}, t("nav.inspect")),
      h("div", { class: "field" }, h("label", { for: "category" }, t("inspect.category")), choice),
      h("label", { class: "check", for: "record" }, record, t("inspect.record"))),
    area, result,
  );
  bind(["o"], t("inspect.open"), () => area.querySelector("input").click(), signal);
  if (camera) bind(["c"], t("inspect.camera"), () => takePhoto(took), signal);
  const { categories } = await get("/categories", {}, signal);
  choice.append(...categories.map(({ name }) => h("option", { value: name }, name)));
  const kept = sessionStorage.getItem(REMEMBERED) ?? "";
  if (categories.some(({ name }) => name === kept) && file === null) choice.value = kept;
  if (!categories.length && file === null) fill(result, h("p", { class: "empty" }, t("inspect.nothing")));

  /** Inspect the latest image as the product that is chosen now. */
  async function inspect() {
    if (file === null) return;
    showing.abort();
    showing = new AbortController();
    area.classList.add("compact");
    fill(result, h("p", { class: "empty" }, t("inspect.working")));
    const form = new FormData();
    if (choice.value) form.append("category", choice.value);
    if (!record.checked) form.append("record", "false");
    const tried = !record.checked;
    form.append("images", file, file.name);
    // Sent again under the same key, it is inspected and recorded once.
    const headers = { "Idempotency-Key": idempotencyKey() };
    await load(result, showing.signal, async (mine) => {
      const { results: [found] } = await request("POST", "/detect", { form, headers, patient: true, signal: mine });
      return inspectionPanel(found, { signal: mine, file, tried, again: inspect });
    });
  }

  function took(taken) {
    file = taken;
    return inspect();
  }
}

/** A random name for one request. Not crypto.randomUUID, which browsers keep to https. */
function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
