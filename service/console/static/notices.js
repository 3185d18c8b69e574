// Tells what happened, and what to do about what went wrong.

import { h } from "./dom.js";
import { known, t } from "./strings.js";

const SECONDS = 10;

/** A line at the foot of the page for a while. `action`: { text, act }, such as an undo. */
export function tell(text, action = null) {
  const notice = h("div", { class: "notice" }, h("span", {}, text));
  const close = () => notice.remove();
  if (action !== null) {
    notice.append(h("button", { class: "quiet", onclick: () => { close(); action.act(); } }, action.text));
  }
  notice.append(h("button", { class: "quiet close", "aria-label": t("shell.close"), onclick: close }, "×"));
  document.getElementById("notices").append(notice);
  setTimeout(close, SECONDS * 1000);
  return close;
}

/** A line that tells of an error, with what to do. */
export function tellProblem(problem) {
  if (problem.name === "AbortError") return;
  tell(`${problem.message} ${advice(problem)}`.trim());
}

/** A panel in the place of what could not be shown. */
export function problemPanel(problem) {
  return h("section", { class: "problem", role: "alert" },
    h("h2", {}, problem.title ?? t("problem.title")),
    problem.message === problem.title ? null : h("p", {}, problem.message),
    advice(problem) ? h("p", {}, advice(problem)) : null,
    problem.requestId ? h("p", { class: "hint" }, t("problem.request", { id: problem.requestId })) : null,
  );
}

function advice(problem) {
  const text = `problem.${problem.kind}`;
  return known(text) ? t(text) : "";
}
