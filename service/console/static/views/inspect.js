// Inspect: is the part in this picture good, and if not, where and why?

import { get, request } from "../api.js";
import { hasCamera, takePicture } from "../camera.js";
import { fill, h } from "../dom.js";
import { dropArea } from "../drop.js";
import { inspectionPanel } from "../inspection.js";
import { bind } from "../keyboard.js";
import { problemPanel, tell } from "../notices.js";
import { t } from "../strings.js";

const REMEMBERED = "touchstone-category";

export async function show(place, { signal }) {
  const result = h("div", { class: "holder", "aria-live": "polite" });
  const choice = h("select", { id: "category", onchange: () => sessionStorage.setItem(REMEMBERED, choice.value) },
    h("option", { value: "" }, t("inspect.any")));
  const camera = hasCamera() ? h("button", { onclick: snap }, t("inspect.camera")) : null;
  const area = dropArea({ text: t("inspect.drop"), multiple: false, signal, take: ([file]) => inspect(file), more: [camera].filter(Boolean) });
  let showing = new AbortController();
  signal.addEventListener("abort", () => showing.abort());
  fill(place,
    h("div", { class: "heading" }, h("h1", {}, t("nav.inspect")),
      h("div", { class: "field" }, h("label", { for: "category" }, t("inspect.category")), choice)),
    area, result,
  );
  bind(["o"], t("inspect.open"), () => area.querySelector("input").click(), signal);
  if (camera) bind(["c"], t("inspect.camera"), snap, signal);
  const { categories } = await get("/categories", {}, signal);
  choice.append(...categories.map(({ name }) => h("option", { value: name }, name)));
  const kept = sessionStorage.getItem(REMEMBERED) ?? "";
  if (categories.some(({ name }) => name === kept)) choice.value = kept;
  if (!categories.length) fill(result, h("p", { class: "empty" }, t("inspect.nothing")));

  async function inspect(file) {
    showing.abort();
    showing = new AbortController();
    const mine = showing.signal;
    area.classList.add("compact");
    fill(result, h("p", { class: "empty" }, t("inspect.working")));
    const form = new FormData();
    if (choice.value) form.append("category", choice.value);
    form.append("images", file, file.name);
    try {
      const [found] = (await (await request("POST", "/detect", { form, signal: mine })).json()).results;
      fill(result, inspectionPanel(found, { signal: mine, file }));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.kind === undefined) throw error;
      fill(result, problemPanel(error));
    }
  }

  async function snap() {
    try {
      const file = await takePicture();
      if (file !== null) await inspect(file);
    } catch (error) {
      tell(t("camera.refused", { reason: error.message }));
    }
  }
}
