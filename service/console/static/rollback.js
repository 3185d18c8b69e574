// Rolls a category back to the settings and references that an evaluation of its test set was made with.

import { get, request } from "./api.js";
import { confirmed } from "./dialog.js";
import { h } from "./dom.js";
import { moment, t } from "./i18n.js";
import { settingChange } from "./setting-change.js";
import { tell, tellProblem } from "./toasts.js";

/** Say what has changed since an evaluation, ask, and roll it back; whether that was done. */
export async function rollBack(name, { id, started_at: at }) {
  const path = `/categories/${encodeURIComponent(name)}/evaluations/${id}`;
  const lost = [];
  try {
    const since = await get(`${path}/changes`);
    const done = [
      ...Object.keys(since.then).map((key) => settingChange(key, since.now[key], since.then[key])),
      since.added.length ? t("rollback.added", { count: since.added.length }) : null,
      since.removed.length ? t("rollback.removed", { count: since.removed.length }) : null,
    ].filter((line) => line !== null);
    const left = [
      since.encoder_changed ? t("rollback.encoder") : null,
      since.geometry_changed ? t("rollback.geometry") : null,
    ].filter((line) => line !== null);
    const content = h("div", { class: "view" },
      done.length ? h("ul", {}, done.map((line) => h("li", {}, line))) : h("p", {}, t("rollback.nothing")),
      left.map((line) => h("p", { class: "error" }, line)));
    const title = t("rollback.title", { at: moment(at) });
    if (!(await confirmed({ title, content, act: done.length ? t("rollback.act") : null, keep: t(done.length ? "shell.cancel" : "shell.close") }))) return false;
    for (let cursor = null; ;) {
      const answer = await request("POST", `${path}/roll-back`, { query: { cursor }, patient: true }); // safe to repeat
      lost.push(...answer.lost);
      cursor = answer.next_cursor;
      if (cursor === null) break;
    }
  } catch (error) {
    tellProblem(error);
    return false;
  }
  tell(lost.length ? t("rollback.partly", { lost: lost.map(({ filename }) => filename).join(", ") }) : t("rollback.done"));
  return true;
}
