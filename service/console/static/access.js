// What the reader's key may do. The service decides; the page only offers nothing that it would refuse.

import { get } from "./api.js";
import { h } from "./dom.js";
import { onKeyChange } from "./auth.js";
import { t } from "./i18n.js";

export const ROLES = ["line", "operator", "engineer", "admin"]; // each may do what those before it may

let asked = null;
let held = null;
onKeyChange(() => { asked = null; });

/** Who is looking: { access, name, role }, asked once for each key. The page shows no view before it knows. */
export function access() {
  asked ??= get("/access").then((found) => {
    held = found.role;
    return found;
  }).catch((error) => {
    asked = null;
    throw error;
  });
  return asked;
}

/** The role of the latest key that the service knew; null before there was one. */
export function role() {
  return held;
}

/** Nobody looks any longer. */
export function forgetRole() {
  held = null;
}

/** Whether the reader has a role, or a higher one. */
export function may(role) {
  return ROLES.indexOf(held) >= ROLES.indexOf(role);
}

/** What stands in the place of something that needs a role which the reader does not have. */
export function needsRole(role) {
  return h("p", { class: "hint" }, t("role.needed", { role: t(`role.${role}`) }));
}
