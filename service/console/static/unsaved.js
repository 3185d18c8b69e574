// Whether what is shown has something that would be lost with the page: changes not saved, or images not sent.

let check = () => null;

/**
 * Ask `losing()` before the page or the view is left, until `signal` is aborted: "unsaved" for changes that nobody has
 * saved, "unsent" for images that are still to be sent, null for nothing.
 */
export function guard(losing, signal) {
  check = losing;
  signal.addEventListener("abort", () => { if (check === losing) discard(); });
}

/** What leaving loses, as `guard` says it. */
export function atStake() {
  return check();
}

/** Let it be lost. */
export function discard() {
  check = () => null;
}

/** Have the browser ask before the page is left. To be called once. */
export function warn() {
  addEventListener("beforeunload", (event) => { if (check() !== null) event.preventDefault(); });
}
