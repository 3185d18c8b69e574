// Puts the page together: reads the words, learns who is looking, and shows the view that the address names.
//
// A view is a module in views/ with one function, `show(place, { rest, query, signal })`: it fills `place` at once and
// goes on until `signal` is aborted, when another view is shown. `rest` is what follows the view's name in the address
// (`#/categories/bracket` → ["bracket"]), `query` its URLSearchParams.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { bind, listen, showKeys } from "./keyboard.js";
import { problemPanel } from "./notices.js";
import { forgetKey, key, onKeyChange } from "./session.js";
import { loadStrings, t } from "./strings.js";

const VIEWS = ["inspect", "live", "categories", "history", "system"];

let leaving = new AbortController();

await loadStrings();
for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
// A fragment names a view here, so this link cannot be a plain one.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
document.getElementById("nav").setAttribute("aria-label", t("shell.navigation"));
const forever = new AbortController().signal;
VIEWS.forEach((name, position) => {
  document.getElementById("nav").append(h("a", { href: `#/${name}` }, t(`nav.${name}`)));
  bind([String(position + 1)], t(`nav.${name}`), () => (location.hash = `#/${name}`), forever);
});
bind(["?"], t("keys.help"), showKeys, forever);
listen();
onKeyChange(() => { showWho(); route(); });
addEventListener("hashchange", route);
showWho();
route();

async function route() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [path, asked = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  const view = VIEWS.includes(name) ? name : VIEWS[0];
  document.title = `${t(`nav.${view}`)} · Touchstone`;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.hash === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = h("div", { class: `view ${view}` });
  fill(document.getElementById("main"), place);
  try {
    const module = await import(`./views/${view}.js`);
    if (signal.aborted) return;
    await module.show(place, { rest, query: new URLSearchParams(asked), signal });
  } catch (error) {
    if (signal.aborted) return;
    if (error.kind === undefined) throw error;
    fill(place, h("h1", {}, t(`nav.${view}`)), problemPanel(error));
  }
}

async function showWho() {
  const who = document.getElementById("who");
  try {
    const { access, name, role } = await get("/access");
    const text = access === "open" ? t("who.open") : t("who.key", { name, role });
    fill(who,
      h("span", { title: access === "open" ? t("who.open.meaning") : null }, text),
      key() === null ? null : h("button", { class: "quiet", onclick: forgetKey }, t("who.leave")),
      h("button", { class: "quiet round", "aria-label": t("keys.help"), onclick: showKeys }, "?"),
    );
  } catch (error) {
    fill(who, h("span", { class: "error" }, error.message));
  }
}
