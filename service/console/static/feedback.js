// What a person says of an inspection, how that is taken back, and what is asked first where it could spoil the product.

import { may } from "./access.js";
import { send } from "./api.js";
import { confirmed } from "./dialog.js";
import { h } from "./dom.js";
import { tell, tellProblem } from "./toasts.js";
import { number, score, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";

const SIDE = 480;

const running = new Set(); // ids of inspections of which something is being said
let latest = null;

/**
 * Say "good", "defect" or "none" of an inspection, of a defect perhaps its `defect_class` or `comment`; `changed` gets it
 * as it is then, also after an undo.
 */
export async function judge(inspection, label, changed, details = {}) {
  if (running.has(inspection.id)) return;
  running.add(inspection.id);
  try {
    const before = inspection.label ?? "none";
    const detailsBefore = before === "defect" ? { defect_class: inspection.defect_class, comment: inspection.comment } : {};
    const judged = await said(inspection, label, changed, details);
    if (judged === null) return;
    const undo = async () => {
      latest = null;
      // What was there before needs no second confirmation.
      if (await said(judged, before, changed, detailsBefore, true)) tell(t("feedback.undone"));
    };
    latest = { undo, close: tell(told(judged, details), { text: t("feedback.undo"), act: undo }) };
  } finally {
    running.delete(inspection.id);
  }
}

/** Take the last thing said back. */
export function undoLast() {
  latest?.close();
  latest?.undo();
}

function told({ label, promoted_reference_id: promoted, category, review, reviewed_at: decided }, details) {
  if (label === null) return t("feedback.undone");
  if ("comment" in details) return t("defect.commented");
  if ("defect_class" in details) return details.defect_class === null ? t("defect.unnamed") : t("defect.named", { name: details.defect_class });
  if (label === "defect") return t("feedback.defect.said");
  if (review !== null && decided === null) return t("feedback.good.waits");
  if (promoted === null) return t("feedback.good.known");
  return t("feedback.good.said", { category, id: String(promoted) });
}

async function said(inspection, label, changed, details, confirm = false) {
  try {
    const judged = await send("POST", `/inspections/${inspection.id}/feedback`, { label, confirm, ...details });
    changed(judged);
    return judged;
  } catch (error) {
    if (error.kind === "confirmation-needed" && !confirm) {
      return (await wantedAllTheSame(inspection, error.body)) ? said(inspection, label, changed, details, true) : null;
    }
    tellProblem(error);
    return null;
  }
}

/** Whether the reader makes the image a reference, now that they see what that would do. */
export async function wantedAllTheSame(inspection, { effect, confirm_role: role }) {
  const [nearest] = inspection.references;
  const allowed = may(role);
  return confirmed({
    title: t("effect.title"), wide: true, act: allowed ? t("effect.act") : null, keep: t(allowed ? "shell.cancel" : "shell.close"),
    content: h("div", { class: "effect" },
      h("div", { class: "comparison" },
        shown(`/inspections/${inspection.id}/image`, t("effect.part", { name: inspection.filename })),
        nearest ? shown(`/references/${nearest.reference_id}/image`, t("effect.nearest", { id: String(nearest.reference_id), category: nearest.category })) : null),
      threshold(effect, inspection.category),
      h("ul", { class: "reasons" }, effect.reasons.map((cause) => h("li", {}, reason(cause, effect, inspection.category)))),
      allowed ? null : h("p", { class: "error" }, t("effect.role", { role: t(`role.${role}`) }))),
  });
}

function shown(path, caption) {
  return h("figure", {}, lazyImage(path, "", { side: SIDE }), h("figcaption", {}, caption));
}

function threshold({ threshold_before: before, threshold_after: after, score: reached }, category) {
  if (before === null || after === null) return h("p", {}, t("effect.score", { score: score(reached) }));
  return h("div", {},
    h("p", { class: "large" }, t("effect.threshold", { before: score(before), after: score(after), times: number(after / before, 1) })),
    h("p", {}, t(after > before ? "effect.meaning" : "effect.same", { category, after: score(after) })));
}

function reason({ reason: kind, category: other }, effect, category) {
  return t(`effect.reason.${kind}`, { category, other, limit: score(effect.outlier_limit) });
}
