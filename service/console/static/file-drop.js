// Takes images in: dropped, pasted or chosen from the disk.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/**
 * An area that calls `take(files)` with images. While `signal` is not aborted, what is pasted anywhere goes to the
 * page's `main` area. `choose`: the word on its button.
 */
export function dropArea({ text, multiple, take, signal, more = [], id = "files", choose = t("drop.choose"), main = true }) {
  const input = h("input", {
    type: "file", id, multiple, accept: "image/*,.tif,.tiff,.bmp,.webp",
    onchange: () => { if (input.files.length) take([...input.files]); input.value = ""; },
  });
  const area = h("div", { class: "drop" },
    h("p", {}, text), h("div", { class: "actions" }, input, h("label", { class: "button", for: id }, choose), more));
  area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    if (event.dataTransfer.files.length) take([...event.dataTransfer.files]);
  });
  if (!main) return area;
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) take(files);
  }, { signal });
  // An image that misses the area must not take the place of the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault(), { signal });
  return area;
}
