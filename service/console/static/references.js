// A category's references: look at them, take one back, bring one back.

import { get, picture, send } from "./api.js";
import { fill, h } from "./dom.js";
import { tell, tellProblem } from "./notices.js";
import { paged } from "./pages.js";
import { t } from "./strings.js";

const PAGE = 60;
const SIDE = 240;

/** Fill `place` with the category's references, live ones or those taken back. */
export async function showReferences(place, category, signal) {
  let removed = false;
  const grid = h("ul", { class: "pictures" });
  const nobody = h("p", { class: "hint nobody" });
  const more = h("div", { class: "actions" });
  const show = paged(grid, more, read, signal);
  const choose = (name, value) => h("button", {
    "aria-pressed": String(value === removed),
    onclick: ({ currentTarget }) => {
      removed = value;
      for (const each of currentTarget.parentElement.children) each.setAttribute("aria-pressed", String(each === currentTarget));
      fill(nobody);
      show();
    },
  }, t(`references.${name}`));
  fill(place, h("div", { class: "actions", role: "group", "aria-label": t("references.which") }, choose("live", false), choose("removed", true)), grid, nobody, more);
  await show();

  async function read(cursor, mine) {
    const page = await get("/references", { category: category.name, cursor, limit: PAGE, ...(removed ? { removed } : {}) }, mine);
    fill(nobody, t(removed ? "references.none.removed" : "references.none"));
    return { items: page.references.map((each) => tile(each, removed)), next: page.next_cursor };
  }
}

function tile(reference, removed) {
  const said = reference.findings.map(({ detail }) => detail).join(" ");
  const item = h("li", { class: "picture" },
    picture(`/references/${reference.id}/image`, t("reference.name", { id: String(reference.id) }), { side: SIDE }),
    h("span", { class: "name" }, reference.filename),
    said ? h("span", { class: "finding" }, said) : null,
    h("button", { onclick: () => (removed ? bringBack(reference, item) : takeBack(reference, item)) },
      t(removed ? "references.restore" : "references.remove")),
  );
  return item;
}

async function bringBack(reference, item) {
  try {
    await send("POST", `/references/${reference.id}/restore`);
    leave(item);
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
  const [parent, next] = [item.parentElement, item.nextSibling];
  leave(item);
  changed();
  const undo = async () => {
    try {
      reference.id = (await send("POST", `/references/${id}/restore`)).id;
      if (parent.isConnected) parent.insertBefore(item, next?.parentElement === parent ? next : null);
      tell(t("references.undone"));
      changed();
    } catch (error) {
      tellProblem(error);
    }
  };
  tell(t("references.taken", { id: String(id) }), { text: t("feedback.undo"), act: undo });
}

/** Take an element away without losing the keyboard's place. */
function leave(item) {
  const neighbour = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector("button");
  item.remove();
  neighbour?.focus();
}
