// Whether what is shown has something that would be lost with the page: changes not saved, or images not sent.

const checks = new Set();

/**
 * Ask `losing()` before the page or the view is left, until `signal` is aborted: "unsaved" for changes that nobody has
 * saved, "unsent" for images that are still to be sent, null for nothing. Several parts of a view may each have one.
 */
export function guard(losing, signal) {
  checks.add(losing);
  signal.addEventListener("abort", () => checks.delete(losing));
}

/** What leaving loses, as `guard` says it. */
export function atStake() {
  for (const losing of checks) {
    const lost = losing();
    if (lost !== null) return lost;
  }
  return null;
}

/** Let it be lost. */
export function discard() {
  checks.clear();
}

/** Have the browser ask before the page is left. To be called once. */
export function warn() {
  addEventListener("beforeunload", (event) => { if (atStake() !== null) event.preventDefault(); });
}
