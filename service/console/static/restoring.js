// Brings back a removed category, with its settings and the references that were removed with it.

import { request } from "./api.js";
import { tell, tellProblem } from "./toasts.js";
import { t } from "./i18n.js";

/** Restore a category; `progress(done)` is told how many references are. Returns whether that succeeded. */
export async function restoreCategory(name, progress = () => {}) {
  const path = `/categories/${encodeURIComponent(name)}/restore`;
  const lost = [];
  let done = 0;
  try {
    for (let cursor = null; ;) {
      const answer = await request("POST", path, { query: { cursor }, patient: true }); // safe to repeat
      done += answer.restored;
      lost.push(...answer.lost);
      progress(done);
      cursor = answer.next_cursor;
      if (cursor === null) break;
    }
  } catch (error) {
    tellProblem(error);
    return false;
  }
  tell(lost.length ? t("category.restored.partly", { name, count: done, lost: lost.map(({ filename }) => filename).join(", ") })
    : t("category.restored", { name, count: done }));
  return true;
}
