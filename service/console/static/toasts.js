// Tells what happened, and what to do about what went wrong.

import { fill, h } from "./dom.js";
import { known, t } from "./i18n.js";

const SECONDS = 10;
const MOST = 4; // shown at once: with more, the oldest goes

const shown = []; // what closes each notice, oldest first
const told = new Map(); // text → what tells it once more, of notices without an action

/** A line at the foot of the page for a while. `action`: { text, act }, such as an undo. The same line is not stacked. */
export function tell(text, action = null) {
  if (action === null && told.has(text)) return told.get(text)();
  const said = h("span", {}, text);
  const notice = h("div", { class: "notice" }, said);
  let times = 1;
  let timer = null;
  if (action !== null) {
    notice.append(h("button", { class: "quiet", onclick: () => { close(); return action.act(); } }, action.text));
  } else {
    told.set(text, again);
  }
  notice.append(h("button", { class: "quiet close", "aria-label": t("shell.close"), onclick: close }, "×"));
  document.getElementById("notices").append(notice);
  shown.push(close);
  if (shown.length > MOST) shown[0]();
  wait();
  return close;

  function again() {
    times += 1;
    fill(said, t("notice.times", { text, times }));
    wait();
    return close;
  }

  function wait() {
    clearTimeout(timer);
    timer = setTimeout(close, SECONDS * 1000);
  }

  function close() {
    if (!shown.includes(close)) return;
    shown.splice(shown.indexOf(close), 1);
    clearTimeout(timer);
    notice.remove();
    if (told.get(text) === again) told.delete(text);
  }
}

/** A line that tells of an error, with what to do. */
export function tellProblem(problem) {
  if (problem.name === "AbortError") return;
  tell([problem.message || problem.title, advice(problem)].filter(Boolean).join(" "));
}

/** A panel in the place of what could not be shown, with more in it. */
export function problemPanel(problem, ...more) {
  return h("section", { class: "problem", role: "alert" },
    h("h2", {}, problem.title ?? t("problem.title")),
    problem.message ? h("p", {}, problem.message) : null,
    advice(problem) ? h("p", {}, advice(problem)) : null,
    problem.requestId ? h("p", { class: "hint" }, t("problem.request", { id: problem.requestId })) : null,
    more,
  );
}

function advice(problem) {
  const text = `problem.${problem.kind}`;
  return known(text) ? t(text) : "";
}
