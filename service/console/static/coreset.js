// What a category is searched in: all its references, or a few patches of each place; and how to change that.

import { get, send } from "./api.js";
import { fill, h } from "./dom.js";
import { repeat } from "./loading.js";
import { tell, tellProblem } from "./toasts.js";
import { number, t } from "./i18n.js";

const EVERY_MS = 1000;
const USUAL_PERCENT = 50;

/** A card that shows a category's coreset, has one made, or has all references searched again. */
export function coresetCard({ name, coreset }, signal) {
  const path = `/categories/${encodeURIComponent(name)}`;
  const now = h("div", {});
  const share = h("input", { id: "coreset-share", type: "number", min: 1, max: 99, step: "any", inputmode: "decimal", value: USUAL_PERCENT, oninput: typed, "aria-describedby": "coreset-about" });
  const condense = h("button", { class: "primary" }, t("coreset.condense"));
  const undo = h("button", { type: "button", onclick: searchAll }, t("coreset.undo"));
  let current = coreset;
  show(coreset);
  repeat(EVERY_MS, async () => {
    if (current === null || current.progress === null) return;
    const found = await get(path, {}, signal).catch(() => null); // the next round asks again
    if (found !== null) show(found.coreset);
  }, signal);
  return h("form", { class: "card", onsubmit: begin, novalidate: true, "aria-label": t("coreset.title") },
    h("h2", {}, t("coreset.title")), now,
    h("div", { class: "field" }, h("label", { for: "coreset-share" }, t("coreset.share")), share, h("span", { class: "hint", id: "coreset-about" }, t("coreset.about"))),
    h("div", { class: "actions" }, condense, undo));

  function typed() {
    condense.disabled = !(share.valueAsNumber > 0 && share.valueAsNumber < 100);
  }

  function show(found) {
    current = found;
    undo.hidden = found === null;
    fill(now, h("p", {}, searched(found)),
      found?.beside ? h("p", { class: "hint" }, t("coreset.beside", { beside: found.beside })) : null,
      found?.error ? h("p", { class: "error" }, found.error) : null,
      found === null || found.progress === null || found.error ? null : h("div", { role: "status" },
        h("p", {}, t("coreset.making")), h("progress", { max: 1, value: found.progress, "aria-label": t("coreset.progress") })));
  }

  async function begin(event) {
    event.preventDefault();
    if (condense.disabled) return;
    await changed(() => send("PUT", `${path}/coreset`, { share: share.valueAsNumber / 100 }), "coreset.begun");
  }

  async function searchAll() {
    await changed(async () => (await send("DELETE", `${path}/coreset`)).coreset, "coreset.undone");
  }

  async function changed(ask, text) {
    try {
      show(await ask());
      tell(t(text));
    } catch (error) {
      tellProblem(error);
    }
  }
}

function searched(coreset) {
  if (coreset?.state !== "in use") return t("coreset.all");
  const { patches, references, bound } = coreset;
  return t("coreset.searched", { patches, references, bound: number(Math.ceil(bound * 1000) / 1000, 3) });
}
