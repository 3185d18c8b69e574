// Whether what is shown has changes that nobody has saved: they would be lost with the page.

let check = () => false;

/** Ask `unsaved()` before the page or the view is left, until `signal` is aborted. */
export function guard(unsaved, signal) {
  check = unsaved;
  signal.addEventListener("abort", () => { if (check === unsaved) discard(); });
}

/** Whether leaving loses something. */
export function isUnsaved() {
  return check();
}

/** Let it be lost. */
export function discard() {
  check = () => false;
}

/** Have the browser ask before the page is left. To be called once. */
export function warn() {
  addEventListener("beforeunload", (event) => { if (check()) event.preventDefault(); });
}
