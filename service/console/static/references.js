// A category's references: find them, look at them, take some back, bring one back.

import { get, imageUrl, send } from "./api.js";
import { confirmed } from "./dialog.js";
import { fill, h, once } from "./dom.js";
import { load } from "./loading.js";
import { tell, tellProblem } from "./toasts.js";
import { paged } from "./pages.js";
import { score, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";
import { viewer } from "./viewer.js";

const PAGE = 60;
const SIDE = 240;
const FULL = 2048;
const ORDERS = ["oldest", "newest", "name", "outliers"];
const CHOSEN = { live: {}, feedback: { from_feedback: true }, removed: { removed: true } }; // in the query of a list

/** Fill `place` with the category's references: live ones, those of them that feedback made, or those taken back. */
export async function showReferences(place, category, signal) {
  let which = "live";
  let selected = new Map(); // id → reference
  const grid = h("ul", { class: "images" });
  const nobody = h("p", { class: "hint nobody" });
  const more = h("div", { class: "actions" });
  const show = paged(grid, more, read, signal);
  const choose = (name) => h("button", {
    "aria-pressed": String(name === which),
    onclick: ({ currentTarget }) => {
      which = name;
      for (const choice of currentTarget.parentElement.children) choice.setAttribute("aria-pressed", String(choice === currentTarget));
      again();
    },
  }, t(`references.${name}`));
  const text = h("input", { type: "search", id: "reference-text", maxlength: 128, onchange: again });
  const order = h("select", { id: "reference-order", onchange: again }, ORDERS.map((name) => h("option", { value: name }, t(`references.order.${name}`))));
  const count = h("span", { role: "status" });
  const all = h("button", { onclick: () => selectAll(true) }, t("references.select-all"));
  const none = h("button", { onclick: () => selectAll(false) }, t("references.select-none"));
  const removal = h("button", { class: "danger", onclick: removeSelected }, t("references.remove-selected"));
  const selection = h("div", { class: "actions selection" }, all, none, removal, count);
  fill(place,
    h("form", { class: "filters", onsubmit: (event) => event.preventDefault() },
      h("div", { class: "actions", role: "group", "aria-label": t("references.which") }, ["live", "feedback", "removed"].map(choose)),
      h("div", { class: "field" }, h("label", { for: "reference-text" }, t("references.text")), text),
      h("div", { class: "field" }, h("label", { for: "reference-order" }, t("references.order")), order)),
    selection, grid, nobody, more);
  await again();

  function again() {
    selected = new Map();
    told();
    fill(nobody);
    return show();
  }

  async function read(cursor, mine) {
    const query = { category: category.name, cursor, limit: PAGE, order: order.value, text: text.value.trim(), ...CHOSEN[which] };
    const page = await get("/references", query, mine);
    fill(nobody, t(text.value.trim() ? "references.none.text" : `references.none.${which}`));
    return { items: page.references.map((reference) => tile(reference, which === "removed" ? null : choice(reference), signal)), next: page.next_cursor };
  }

  function choice(reference) {
    const box = h("input", {
      type: "checkbox", "aria-label": t("references.select", { name: reference.filename }),
      onchange: () => {
        if (box.checked) selected.set(reference.id, reference);
        else selected.delete(reference.id);
        told();
      },
    });
    return box;
  }

  function selectAll(checked) {
    for (const box of grid.querySelectorAll("input[type=checkbox]")) if (box.checked !== checked) box.click();
  }

  function told() {
    selection.hidden = which === "removed";
    none.disabled = removal.disabled = selected.size === 0;
    fill(count, selected.size ? t("references.selected", { count: selected.size }) : "");
  }

  async function removeSelected() {
    const ids = [...selected.keys()];
    const content = h("p", {}, t("references.remove-selected.meaning"));
    if (!(await confirmed({ title: t("references.remove-selected.title", { count: ids.length }), content, act: t("references.remove-selected") }))) return;
    try {
      await send("POST", "/references/remove", { reference_ids: ids });
    } catch (error) {
      tellProblem(error);
      return;
    }
    tell(t("references.removed-selected", { count: ids.length }), { text: t("feedback.undo"), act: () => restoreAll(ids) });
    await again();
  }

  async function restoreAll(ids) {
    let restored = 0;
    for (const id of ids) {
      try {
        await send("POST", `/references/${id}/restore`);
        restored += 1;
      } catch (error) {
        tellProblem(error);
      }
    }
    tell(t("references.restored-selected", { restored, total: ids.length }));
    if (place.isConnected) await again();
  }
}

/** Show a reference as large as the screen allows, to be zoomed and moved. */
function enlarge({ id, filename, width, height }, signal) {
  const open = new AbortController();
  const holder = h("div", { class: "holder" });
  const dialog = h("dialog", { class: "dialog full", "aria-label": filename }, holder,
    h("form", { method: "dialog", class: "actions" }, h("button", { class: "primary" }, t("shell.close"))));
  dialog.addEventListener("close", () => { open.abort(); dialog.remove(); });
  signal.addEventListener("abort", () => dialog.close(), { signal: open.signal });
  document.body.append(dialog);
  dialog.showModal();
  load(holder, open.signal, async (mine) => {
    const shown = viewer({ size: { width, height }, regions: [], alt: t("reference.name", { id: String(id) }), choose: () => {}, warmed: false });
    const url = await imageUrl(`/references/${id}/image`, { side: FULL }, mine);
    shown.image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
    shown.image.src = url;
    return [h("h2", {}, filename), shown.element];
  });
}

/** A reference; `box`: a checkbox to select it, null where none can be. */
function tile(reference, box, signal) {
  const { id, filename, findings, inspection_id: inspection, removed_at: removed } = reference;
  const said = findings.map(({ detail }) => detail).join(" ");
  const item = h("li", { class: "image" },
    h("button", { class: "plain", "aria-label": t("references.enlarge", { name: filename }), onclick: () => enlarge(reference, signal) },
      lazyImage(`/references/${id}/image`, t("reference.name", { id: String(id) }), { side: SIDE })),
    box === null ? h("span", { class: "name" }, filename) : h("label", { class: "name" }, box, filename),
    inspection ? h("a", { class: "chip from-feedback", href: `#/history/${inspection}` }, t("references.from-feedback")) : null,
    reference.score === null ? null : h("span", { class: "hint" }, t("references.score", { score: score(reference.score) })),
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
  const neighbour = (item.nextElementSibling ?? item.previousElementSibling)?.querySelector("button:not(.plain)");
  item.remove();
  neighbour?.focus();
  return () => { if (parent?.isConnected) parent.insertBefore(item, next?.parentElement === parent ? next : null); };
}
