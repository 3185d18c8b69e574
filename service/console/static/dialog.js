// Asks before something is done that is not easily undone.

import { h } from "./dom.js";
import { t } from "./i18n.js";

const SETTLING_MS = 800; // a click or a key in the first moment was meant for what was there before

/**
 * Whether the reader wants it done. `content`: what it means, as elements. `act`, `keep`: the words on the two buttons;
 * with `act` null it can only be left. Enter and Escape leave it undone: it is done by the button that says so alone.
 */
export async function confirmed({ title, content, act, keep = t("shell.cancel"), wide = false }) {
  const leave = h("button", { class: "primary", autofocus: true, value: "" }, keep);
  const agree = act === null ? null : h("button", { class: "danger", value: "yes", disabled: true }, act);
  const dialog = h("dialog", { class: wide ? "dialog wide" : "dialog", "aria-labelledby": "confirm-title" },
    h("h2", { id: "confirm-title" }, title), content,
    h("form", { method: "dialog", class: "actions" }, leave, agree));
  const settled = setTimeout(() => { if (agree !== null) agree.disabled = false; }, SETTLING_MS);
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  clearTimeout(settled);
  dialog.remove();
  return dialog.returnValue === "yes";
}
