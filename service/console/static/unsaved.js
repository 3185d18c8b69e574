// Whether what is shown has something that would be lost with the page: changes not saved, or images not sent.

import { ROOT } from "./root.js";

const DRAFT = `touchstone-draft ${ROOT.pathname}`; // in this tab

const checks = new Map(); // what is asked → the form that has all of it, or null

/**
 * Ask `losing()` before the page or the view is left, until `signal` is aborted: "unsaved" for changes that nobody has
 * saved, "unsent" for images that are still to be sent, null for nothing. Several parts of a view may each have one.
 * `form`, with an id, where its fields are all that would be lost: see `keepDraft`.
 */
export function guard(losing, signal, form = null) {
  checks.set(losing, form);
  signal.addEventListener("abort", () => checks.delete(losing));
  if (form !== null) refill(form);
}

/** What leaving loses, as `guard` says it. */
export function atStake() {
  for (const losing of checks.keys()) {
    const lost = losing();
    if (lost !== null) return lost;
  }
  return null;
}

/** Let it be lost. */
export function discard() {
  checks.clear();
}

/** Keep what is typed into forms for when this view is shown again after another page. For the rest the browser asks. */
export function keepDraft() {
  const typed = [...checks].filter(([losing, form]) => form !== null && losing() !== null);
  if (typed.length === 0) return;
  const forms = Object.fromEntries(typed.map(([, { id, elements }]) => [id, [...elements].map(({ value, checked }) => ({ value, checked }))]));
  sessionStorage.setItem(DRAFT, JSON.stringify({ view: location.hash, forms }));
  for (const [losing] of typed) checks.delete(losing);
}

/** Forget that, once the view that is shown has taken what was its own. */
export function forgetDraft() {
  sessionStorage.removeItem(DRAFT);
}

/** Type into a form again what was kept of it. */
function refill({ id, elements }) {
  const draft = JSON.parse(sessionStorage.getItem(DRAFT));
  if (draft?.view !== location.hash || draft.forms[id]?.length !== elements.length) return;
  draft.forms[id].forEach(({ value, checked }, index) => {
    const field = elements[index];
    if (field.value === value && field.checked === checked) return;
    Object.assign(field, checked === undefined ? { value } : { value, checked });
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  });
}

/** Have the browser ask before the page is left. To be called once. */
export function warn() {
  addEventListener("beforeunload", (event) => { if (atStake() !== null) event.preventDefault(); });
}
