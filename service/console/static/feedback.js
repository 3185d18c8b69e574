// What a person says of an inspection, and how that is taken back.

import { send } from "./api.js";
import { tell, tellProblem } from "./notices.js";
import { t } from "./strings.js";

let latest = null;

/** Say "good" or "defect" of an inspection; `changed` gets it as it is then, also after an undo. */
export async function judge(inspection, judgement, changed) {
  const before = inspection.judgement ?? "none";
  const judged = await said(inspection, judgement, changed);
  if (judged === null) return;
  const undo = () => { latest = null; said(judged, before, changed).then((back) => back && tell(t("feedback.undone"))); };
  latest = { undo, close: tell(told(judged), { text: t("feedback.undo"), act: undo }) };
}

/** Take the last thing said back. */
export function undoLast() {
  latest?.close();
  latest?.undo();
}

function told({ judgement, promoted_reference_id: promoted, category }) {
  if (judgement === null) return t("feedback.undone");
  if (judgement === "defect") return t("feedback.defect.said");
  if (promoted === null) return t("feedback.good.known");
  return t("feedback.good.said", { category, id: String(promoted) });
}

async function said(inspection, judgement, changed) {
  try {
    const judged = await send("POST", `/inspections/${inspection.id}/feedback`, { judgement });
    changed(judged);
    return judged;
  } catch (error) {
    tellProblem(error);
    return null;
  }
}
