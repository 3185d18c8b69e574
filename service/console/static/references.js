// A category's references: look at them, take one back, bring one back.

import { get, send } from "./api.js";
import { fill, h, once } from "./dom.js";
import { tell, tellProblem } from "./toasts.js";
import { paged } from "./pages.js";
import { t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";

const PAGE = 60;
const SIDE = 240;
const CHOSEN = { live: {}, feedback: { from_feedback: true }, removed: { removed: true } }; // in the query of a list

/** Fill `place` with the category's references: live ones, those of them that feedback made, or those taken back. */
export async function showReferences(place, category, signal) {
  let which = "live";
  const grid = h("ul", { class: "images" });
  const nobody = h("p", { class: "hint nobody" });
  const more = h("div", { class: "actions" });
  const show = paged(grid, more, read, signal);
  const choose = (name) => h("button", {
    "aria-pressed": String(name === which),
    onclick: ({ currentTarget }) => {
      which = name;
      for (const choice of currentTarget.parentElement.children) choice.setAttribute("aria-pressed", String(choice === currentTarget));
      fill(nobody);
      show();
    },
  }, t(`references.${name}`));
  fill(place, h("div", { class: "actions", role: "group", "aria-label": t("references.which") }, ["live", "feedback", "removed"].map(choose)), grid, nobody, more);
  await show();

  async function read(cursor, mine) {
    const page = await get("/references", { category: category.name, cursor, limit: PAGE, ...CHOSEN[which] }, mine);
    fill(nobody, t(`references.none.${which}`));
    return { items: page.references.map(tile), next: page.next_cursor };
  }
}

function tile(reference) {
  const { id, filename, findings, inspection_id: inspection, removed_at: removed } = reference;
  const said = findings.map(({ detail }) => detail).join(" ");
  const item = h("li", { class: "image" },
    lazyImage(`/references/${id}/image`, t("reference.name", { id: String(id) }), { side: SIDE }),
    h("span", { class: "name" }, filename),
    inspection ? h("a", { class: "chip from-feedback", href: `#/history/${inspection}` }, t("references.from-feedback")) : null,
    said ? h("span", { class: "finding" }, said) : null,
    removed !== null ? h("button", { onclick: once(() => bringBack(reference, item)) }, t("references.restore"))
      : h("button", { onclick: once(() => (inspection ? takeFeedbackBack : takeBack)(reference, item)) },
        t(inspection ? "references.undo-feedback" : "references.remove")),
  );
  return item;
}

/** Take back what was said of the part that a reference was made from, and the reference with it. */
async function takeFeedbackBack(reference, item) {
  const path = `/inspections/${reference.inspection_id}`;
  try {
    const inspection = await get(path);
    if (inspection.promoted_reference_id !== reference.id) return takeBack(reference, item); // it says so no longer
    await send("POST", `${path}/feedback`, { label: "none" });
  } catch (error) {
    if (error.status === 404) return takeBack(reference, item); // the inspection is no longer kept
    tellProblem(error);
    return;
  }
  const putBack = away(item);
  tell(t("references.feedback-undone", { name: reference.filename }), {
    text: t("feedback.undo"),
    act: async () => {
      try {
        reference.id = (await send("POST", `${path}/feedback`, { label: "good", confirm: true })).promoted_reference_id;
        putBack();
        tell(t("references.undone"));
      } catch (error) {
        tellProblem(error);
      }
    },
  });
}

async function bringBack(reference, item) {
  try {
    await send("POST", `/references/${reference.id}/restore`);
    away(item);
    tell(t("references.restored", { name: reference.filename }));
  } catch (error) {
    tellProblem(error);
  }
}

/**
 * Take a reference back; `item`, which shows it, goes until that is undone. `changed` is told both times. `reference`
 * has an id, and gets another when it is brought back.
 */
export async function takeBack(reference, item, changed = () => {}) {
  const { id } = reference;
  try {
    await send("DELETE", `/references/${id}`);
  } catch (error) {
    tellProblem(error);
    return;
  }
  const putBack = away(item);
  changed();
  const undo = async () => {
    try {
      reference.id = (await send("POST", `/references/${id}/restore`)).id;
      putBack();
      tell(t("references.undone"));
      changed();
    } catch (error) {
      tellProblem(error);
    }
  };
  tell(t("references.taken", { id: String(id) }), { text: t("feedback.undo"), act: undo });
}

/** Take an element away without losing the keyboard's place; returns what puts it back where it was. */
function away(item) {
  const [parent, next] = [item.parentElement, item.nextSibling];
  const neighbour = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector("button");
  item.remove();
  neighbour?.focus();
  return () => { if (parent.isConnected) parent.insertBefore(item, next?.parentElement === parent ? next : null); };
}
