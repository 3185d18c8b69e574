// Inspect: is the part in this image good, and if not, where and why? Of many images: which are not?

import { get } from "../api.js";
import { showBatch } from "../batch.js";
import { isArchive, sourcesOf } from "../batch-sources.js";
import { categoryChoice } from "../category-choice.js";
import { cameraButton, takePhoto } from "../camera.js";
import { fill, h } from "../dom.js";
import { dropArea, folderButton } from "../file-drop.js";
import { inspectImage } from "../inspecting.js";
import { inspectionPanel } from "../inspection.js";
import { bind } from "../keyboard.js";
import { load } from "../loading.js";
import { t } from "../i18n.js";

const REMEMBERED = "touchstone-category";
const UNRECORDED = "touchstone-unrecorded";

export async function show(place, { signal }) {
  const result = h("div", { class: "holder", "aria-live": "polite" });
  const batch = h("div", { class: "holder view" });
  const { element: waiting } = categoryChoice([], t("inspect.any")); // until the categories are known
  let choice = waiting;
  waiting.id = "category";
  const record = h("input", { type: "checkbox", id: "record", checked: sessionStorage.getItem(UNRECORDED) === null,
    onchange: () => record.checked ? sessionStorage.removeItem(UNRECORDED) : sessionStorage.setItem(UNRECORDED, "1") });
  const camera = cameraButton(took);
  const area = dropArea({
    text: t("inspect.drop"), multiple: true, signal, archives: true, more: [folderButton(inspectAll), camera].flat().filter(Boolean),
    take: (files, entries) => (files.length > 1 || isArchive(files[0]) || entries.some((entry) => entry.isDirectory) ? inspectAll(files, entries) : took(files[0])),
  });
  let file = null;
  let showing = new AbortController();
  signal.addEventListener("abort", () => showing.abort());
  fill(place,
    h("div", { class: "heading" }, h("h1", {}, t("nav.inspect")),
      h("div", { class: "field" }, h("label", { for: "category" }, t("inspect.category")), waiting),
      h("label", { class: "check", for: "record" }, record, t("inspect.record"))),
    area, result, batch,
  );
  bind(["o"], t("inspect.open"), () => area.querySelector("input").click(), signal);
  if (camera) bind(["c"], t("inspect.camera"), () => takePhoto(took), signal);
  const { categories } = await get("/categories", {}, signal);
  const { field, element } = categoryChoice(categories.map(({ name }) => name), t("inspect.any"));
  field.id = "category";
  field.addEventListener("change", () => { sessionStorage.setItem(REMEMBERED, choice.value); inspect(); });
  waiting.replaceWith(element);
  choice = field;
  const remembered = sessionStorage.getItem(REMEMBERED) ?? "";
  if (categories.some(({ name }) => name === remembered) && file === null) choice.value = remembered;
  if (!categories.length && file === null) fill(result, h("p", { class: "empty" }, t("inspect.nothing")));

  /** Inspect the latest image as the product that is chosen now. */
  async function inspect() {
    if (file === null) return;
    begin();
    fill(result, h("p", { class: "empty" }, t("inspect.working")));
    const tried = !record.checked;
    const asked = { category: choice.value, record: record.checked };
    await load(result, showing.signal, async (mine) => {
      const detection = await inspectImage(file, { ...asked, signal: mine });
      return inspectionPanel(detection, { signal: mine, file, tried, again: inspect });
    });
  }

  function took(taken) {
    file = taken;
    return inspect();
  }

  /** Inspect many images, as parts of the product that is chosen now. */
  async function inspectAll(files, entries = []) {
    file = null;
    begin();
    const { signal: mine } = showing;
    fill(batch, h("p", { class: "empty", role: "status" }, t("batch.listing")));
    const sources = await sourcesOf(files, entries);
    if (!mine.aborted) await showBatch(batch, sources, { category: choice.value, record: record.checked, signal: mine });
  }

  function begin() {
    showing.abort();
    showing = new AbortController();
    area.classList.add("compact");
    fill(result);
    fill(batch);
  }
}
