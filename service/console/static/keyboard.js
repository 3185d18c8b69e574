// One place that knows which key does what, so that every key can be shown on "?".

import { h } from "./dom.js";
import { t } from "./i18n.js";

const bound = new Map(); // key → bindings { keys, text, act }; the last one counts

/**
 * While `signal` is not aborted, `keys` (each as in KeyboardEvent.key) do `act`, whatever they did before; `text` is what
 * "?" says of them.
 */
export function bind(keys, text, act, signal) {
  const binding = { keys, text, act };
  for (const key of keys) bound.set(key, [...(bound.get(key) ?? []), binding]);
  signal.addEventListener("abort", () => {
    for (const key of keys) bound.set(key, bound.get(key).filter((other) => other !== binding));
  });
}

/** Listen. To be called once. */
export function listen() {
  document.addEventListener("keydown", (event) => {
    // Held, it presses once: in a list the next row's button has the focus by then.
    if (event.repeat && event.key === "Enter" && event.target.closest("button")) return event.preventDefault();
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || writing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const shortcut = bound.get(event.key)?.at(-1);
    if (!shortcut || (event.target.closest("[data-own-keys]") && event.key.startsWith("Arrow"))) return;
    event.preventDefault();
    shortcut.act(event);
  });
}

/** Show every key that does something here. */
export function showKeys() {
  const entries = [...new Set([...bound.values()].flatMap((bindings) => bindings.slice(-1)))];
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, t("keys.title")),
    h("dl", { class: "keys" }, entries.map(({ keys, text }) => [
      h("dt", {}, keys.map((name) => h("kbd", {}, named(name)))), h("dd", {}, text),
    ]).flat()),
    h("form", { method: "dialog", class: "actions" }, h("button", { class: "primary" }, t("shell.close"))),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function named(name) {
  const names = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": t("keys.space") };
  return names[name] ?? name;
}

function writing(target) {
  return target.matches("input:not([type=range], [type=checkbox], [type=file]), textarea, select, [contenteditable]");
}
