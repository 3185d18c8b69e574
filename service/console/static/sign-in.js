// Signs in at the plant's identity provider (OpenID Connect): to its page and back. What must come back unchanged is kept
// in this tab; the service exchanges the provider's code for a session, whose token is then used like any other key.

import { endUrl, forgetKey, keepKey, key, noteTrouble } from "./auth.js";
import { address, get, request, send } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";
import { ROOT } from "./root.js";
import { tellProblem } from "./toasts.js";
import { keepDraft } from "./unsaved.js";

const PENDING = `touchstone-sign-in ${ROOT.pathname}`;

/** What the dialog for a key offers besides; null where there is no provider. `stays()`: whether to stay signed in. */
export async function signInOffer(stays) {
  const { provider } = await get("/sign-in");
  if (provider === null) return null;
  const refusal = h("p", { class: "error", role: "alert", hidden: true });
  const button = h("button", { type: "button", class: "primary", onclick: leave }, t("sign-in.act", { provider }));
  return h("div", { class: "sign-in" }, refusal, button, h("p", { class: "hint" }, t("sign-in.or")));

  async function leave() {
    refusal.hidden = true;
    try {
      const redirect = address("/");
      const { authorization_url: url, ...kept } = await request("GET", "/sign-in/start", { query: { redirect_uri: redirect }, patient: false });
      sessionStorage.setItem(PENDING, JSON.stringify({ ...kept, redirect, view: location.hash, stays: stays() }));
      keepDraft();
      location.assign(url);
      await new Promise(() => {}); // the button stays busy until the page is left
    } catch (problem) {
      refusal.textContent = problem.message || problem.title;
      refusal.hidden = false;
    }
  }
}

/** End a sign-in, if the provider has just sent the reader back; before the page asks for anything. */
export async function finishSignIn() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("state")) return;
  const pending = JSON.parse(sessionStorage.getItem(PENDING));
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", address("/") + (pending?.view ?? "")); // a code is of use once
  if (pending === null || answer.get("state") !== pending.state) {
    if (key() === null) noteTrouble(t("sign-in.stale"));
  } else if (answer.has("error")) {
    noteTrouble(t("sign-in.refused", { reason: answer.get("error_description") ?? answer.get("error") }));
  } else {
    const { code_verifier, nonce, redirect } = pending;
    try {
      const session = await send("POST", "/session", { code: answer.get("code"), code_verifier, nonce, redirect_uri: redirect });
      keepKey(session.token, pending.stays, session.end_session_url);
    } catch (problem) {
      noteTrouble(problem.message || problem.title);
    }
  }
}

/** End the session here, and at the provider, where it says how. */
export async function signOut() {
  const end = endUrl();
  try {
    await request("DELETE", "/session", { read: () => null });
  } catch (problem) {
    tellProblem(problem); // still signed in, so that it can be tried again
    return;
  }
  forgetKey();
  if (end !== null) location.assign(end);
}
