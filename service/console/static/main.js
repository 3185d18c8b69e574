// Puts the page together: reads the words, learns who is looking, and shows the view that the address names.
//
// A view is a module in views/ with one function, `show(place, { rest, query, signal })`: it fills `place` at once and
// goes on until `signal` is aborted, when another view is shown. `rest` is what follows the view's name in the address
// (`#/categories/bracket` → ["bracket"]), `query` its URLSearchParams. `role` is what a key needs to see it, if not any.

import { access, forgetRole, may, needsRole, role } from "./access.js";
import { showWaits } from "./connection-bar.js";
import { confirmed } from "./dialog.js";
import { fill, h } from "./dom.js";
import { bind, listen, showKeys } from "./keyboard.js";
import { load, loading } from "./loading.js";
import { forgetKey, key, onKeyChange } from "./auth.js";
import { LANGUAGES, chooseLanguage, loadStrings, number, t } from "./i18n.js";
import { onOutdated } from "./outdated.js";
import { parseRoute } from "./route.js";
import { finishSignIn, signOut } from "./sign-in.js";
import { followWaiting, onWaiting } from "./review-count.js";
import { atStake, discard, forgetDraft, warn } from "./unsaved.js";
// Not when they are first shown: the service may be away then.
import * as categories from "./views/categories.js";
import * as history from "./views/history.js";
import * as inspect from "./views/inspect.js";
import * as live from "./views/live.js";
import * as operator from "./views/operator.js";
import * as review from "./views/review.js";
import * as system from "./views/system.js";

const VIEWS = { inspect, live, review, categories, history, system, operator };
const FIRST = "inspect";
const LOSSES = { // what leaving may lose, and what is asked before
  unsaved: { title: "unsaved.title", meaning: "unsaved.meaning" },
  unsent: { title: "unsent.title", meaning: "unsent.meaning" },
};

let leaving = new AbortController();
let shown = location.hash;

const language = await loadStrings();
document.documentElement.lang = LANGUAGES[language].tag;
for (const element of document.querySelectorAll("[data-text]")) element.textContent = t(element.dataset.text);
// A fragment names a view here, so this link cannot be a plain one.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
showLanguages();
showWaits(document.getElementById("connection"));
document.getElementById("nav").setAttribute("aria-label", t("shell.navigation"));
await finishSignIn();
shown = location.hash;
const forever = new AbortController().signal;
Object.keys(VIEWS).forEach((name, position) => {
  document.getElementById("nav").append(h("a", { href: `#/${name}` }, t(`nav.${name}`)));
  bind([String(position + 1)], t(`nav.${name}`), () => (location.hash = `#/${name}`), forever);
});
const waiting = h("span", { class: "count", hidden: true });
document.querySelector("#nav a[href='#/review']").append(waiting);
onWaiting((count) => {
  waiting.hidden = !count;
  fill(waiting, count ? h("span", { "aria-hidden": "true" }, number(count)) : null, count ? h("span", { class: "unseen" }, t("review.waiting", { count })) : null);
}, forever);
followWaiting(forever);
bind(["?"], t("keys.help"), showKeys, forever);
listen();
onKeyChange(keyChanged);
addEventListener("hashchange", move);
onOutdated(() => { if (atStake() === null) route(); });
warn();
showWho();
route();

/** Show what the address names now, unless that would lose changes that the reader wants to keep. */
async function move() {
  const wanted = location.hash;
  if (atStake() !== null) {
    window.history.replaceState(null, "", shown || "#/");
    if (await mayLose()) location.hash = wanted;
    return;
  }
  shown = wanted;
  route();
}

/** Whether what is shown may be left: nothing would be lost, or the reader has been asked. */
async function mayLose() {
  const lost = atStake();
  if (lost === null) return true;
  if (document.querySelector("dialog[open]")) return false; // it asks already
  const content = h("p", {}, t(LOSSES[lost].meaning));
  const agreed = await confirmed({ title: t(LOSSES[lost].title), content, act: t("unsaved.leave"), keep: t("unsaved.stay") });
  if (agreed) discard();
  return agreed;
}

/**
 * Show the view anew where another key makes it another one. Who signs in again, with what a view has asked for waiting,
 * goes on with it: what is typed stays, and images are sent on.
 */
async function keyChanged() {
  const before = role();
  if (key() === null) forgetRole();
  showWho();
  if (key() !== null) {
    await access().catch(() => {}); // which is told where it says who looks
    if (before === null || role() === before || atStake() !== null) return;
  }
  route();
}

async function route() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const { name, rest, query } = parseRoute(location.hash, Object.keys(VIEWS), FIRST);
  const view = VIEWS[name];
  document.body.dataset.view = name;
  document.title = `${view ? t(`nav.${name}`) : t("shell.unknown")} · Touchstone`;
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = h("div", { class: `view ${name}` }, loading());
  fill(document.getElementById("main"), place);
  if (!view) {
    fill(place, h("h1", {}, t("shell.unknown")), h("p", { class: "empty" }, t("shell.unknown.meaning")));
    return;
  }
  const heading = h("h1", {}, t(`nav.${name}`));
  await load(place, signal, async (mine) => {
    await access();
    if (view.role && !may(view.role)) return needsRole(view.role);
    await view.show(place, { rest, query, signal: mine });
    forgetDraft();
    return undefined;
  }, heading);
}

/** The languages to choose from; the page is shown anew in the one that is chosen. */
function showLanguages() {
  const choose = ({ target }) => { chooseLanguage(target.value); location.reload(); };
  const options = Object.entries(LANGUAGES).map(([name, { short, tag }]) => h("option", { value: name, lang: tag, selected: name === language }, short));
  document.querySelector(".bar").append(h("select", { class: "languages", "aria-label": t("shell.language"), onchange: choose }, options));
}

async function showWho() {
  const who = document.getElementById("who");
  try {
    const { access: how, name, role, subject } = await access();
    const text = how === "open" ? t("who.open") : t("who.key", { name, role: t(`role.${role}`) });
    fill(who,
      h("span", { title: how === "open" ? t("who.open.meaning") : null }, text),
      key() === null ? null : h("button", { class: "quiet", onclick: async () => { if (await mayLose()) await (subject === null ? forgetKey : signOut)(); } }, t(subject === null ? "who.leave" : "who.sign-out")),
      h("button", { class: "quiet round", "aria-label": t("keys.help"), onclick: showKeys }, "?"),
    );
  } catch (error) {
    fill(who, h("span", { class: "error" }, error.title), h("button", { class: "quiet", onclick: showWho }, t("problem.now")));
  }
}
