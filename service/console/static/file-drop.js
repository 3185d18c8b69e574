// Takes images in: dropped, pasted or chosen from the disk.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/**
 * An area that calls `take(files, entries)` with images; `entries` are those of a drop, by which the browser tells
 * folders. While `signal` is not aborted, what is pasted anywhere goes to the page's `main` area. `choose`: the word on
 * its button. `archives`: whether ZIP archives can be chosen, too.
 */
export function dropArea({ text, multiple, take, signal, more = [], id = "files", choose = t("drop.choose"), main = true, archives = false }) {
  const input = h("input", {
    type: "file", id, multiple, accept: `image/*,.tif,.tiff,.bmp,.webp${archives ? ",.zip" : ""}`,
    onchange: () => { if (input.files.length) take([...input.files], []); input.value = ""; },
  });
  const area = h("div", { class: "drop" },
    h("p", {}, text), h("div", { class: "actions" }, input, h("label", { class: "button", for: id }, choose), more));
  area.addEventListener("dragover", (event) => { event.preventDefault(); area.classList.add("over"); });
  area.addEventListener("dragleave", () => area.classList.remove("over"));
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    area.classList.remove("over");
    const { files, items } = event.dataTransfer;
    const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean); // now: later the drop is over
    if (files.length) take([...files], entries);
  });
  if (!main) return area;
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) take(files, []);
  }, { signal });
  // An image that misses the area must not take the place of the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault(), { signal });
  return area;
}

/** What calls `take(files)` with all files in a folder; their `webkitRelativePath` is where each is. */
export function folderButton(take) {
  const input = h("input", {
    type: "file", id: "folder", webkitdirectory: true,
    onchange: () => { if (input.files.length) take([...input.files]); input.value = ""; },
  });
  return [input, h("label", { class: "button", for: input.id }, t("drop.folder"))];
}
