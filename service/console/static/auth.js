// Keeps the reader's API key for as long as this tab is open, or in this browser if the reader wants to stay signed in, and
// asks for one where the service wants it.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { ROOT } from "./root.js";
import { signInOffer } from "./sign-in.js";

const NAME = `touchstone-key ${ROOT.pathname}`; // of this service: others may share its origin

const END = `${NAME} end`; // where the identity provider ends its own session, if the key is a session

let asking = null;
let trouble = null; // why a sign-in has failed
const listeners = new Set();

/** The key in use, or null. */
export function key() {
  return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
}

/** Be told when the key has changed. */
export function onKeyChange(listener) {
  listeners.add(listener);
}

/** Where the identity provider ends the session in use, or null. */
export function endUrl() {
  return sessionStorage.getItem(END) ?? localStorage.getItem(END);
}

/** Have the next dialog say why nobody has signed in. */
export function noteTrouble(text) {
  trouble = text;
}

/** Use a key from now on, in this tab or in this browser. `end`: see `endUrl`. */
export function keepKey(value, stays, end = null) {
  for (const storage of [sessionStorage, localStorage]) for (const name of [NAME, END]) storage.removeItem(name);
  const storage = stays ? localStorage : sessionStorage;
  if (value !== null) storage.setItem(NAME, value);
  if (end !== null) storage.setItem(END, end);
  for (const listener of listeners) listener();
}

/** Use no key any longer, in any tab that opens from now on. */
export function forgetKey() {
  keepKey(null, false);
}

/** Wait until the reader has given another key than `refused`. One dialog, whoever waits for it. */
export async function askForKey(refused, signal = undefined) {
  if (key() !== refused) return;
  asking ??= shown(refused !== null).finally(() => (asking = null));
  await Promise.race([asking, aborted(signal)]);
}

function aborted(signal) {
  return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true }));
}

function shown(wasRefused) {
  return new Promise((resolve) => {
    const field = h("input", {
      id: "key", type: "password", autocomplete: "current-password", required: true, spellcheck: "false",
      pattern: "\\s*[!-~]+\\s*", title: t("key.characters"), // no header can carry others
      "aria-describedby": "key-hint",
    });
    const stay = h("input", { id: "key-stay", type: "checkbox", checked: localStorage.getItem(NAME) !== null, "aria-describedby": "key-stay-hint" });
    const offer = h("div");
    signInOffer(() => stay.checked).then((offered) => offered && offer.replaceWith(offered), () => {}); // a key may do
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "key-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "key-title" }, t("key.title")),
        wasRefused || trouble ? h("p", { class: "error", role: "alert" }, trouble ?? t("key.refused")) : null,
        offer,
        h("label", { for: "key" }, t("key.label")), field,
        h("p", { id: "key-hint", class: "hint" }, t("key.hint")),
        h("label", { class: "check", for: "key-stay" }, stay, t("key.stay")),
        h("p", { id: "key-stay-hint", class: "hint" }, t("key.stay.hint")),
        h("div", { class: "actions" }, h("button", { class: "primary" }, t("key.use"))),
      ),
    );
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      trouble = null;
      dialog.remove();
      keepKey(field.value.trim(), stay.checked);
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
    field.focus();
  });
}
