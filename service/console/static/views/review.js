// Review: parts that wait for an engineer, decided one by one or many at once, by keyboard.

import { Problem, get, request } from "../api.js";
import { fill, h, once } from "../dom.js";
import { wantedAllTheSame } from "../feedback.js";
import { filters } from "../filters.js";
import { inspectionPanel } from "../inspection.js";
import { bind } from "../keyboard.js";
import { lazyImage } from "../lazy-image.js";
import { paged } from "../pages.js";
import { onWaiting, setWaiting } from "../review-count.js";
import { tell, tellProblem } from "../toasts.js";
import { moment, score, t } from "../i18n.js";
import { badge } from "../verdict.js";

const PER_PAGE = 50;
const TOGETHER = 8; // decided by one request: a reference takes about two inspections, and progress should show
const DOUBTFUL = "/problems/confirmation-needed";
const KEYS = { good: "g", defect: "d", dismiss: "x" };

export const role = "engineer";

export async function show(place, { query, signal }) {
  const wanted = await filters(["category", "reason"], query, again, signal);
  const state = h("p", { role: "status" });
  const fresh = h("button", { hidden: true, onclick: () => again() }, t("review.fresh"));
  const list = h("ol", { class: "feed waiting", "aria-label": t("review.list") });
  const more = h("div", { class: "actions" });
  const panel = h("div", { class: "holder" });
  const progress = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("review.progress") });
  const all = h("input", { type: "checkbox", id: "review-all", onchange: () => markAll(all.checked) });
  const answers = Object.entries(KEYS).map(([decision, key]) =>
    h("button", { disabled: true, onclick: once(() => decide(decision)) }, t(`review.${decision}`), h("kbd", { "aria-hidden": "true" }, key)));
  const undo = h("button", { disabled: true, onclick: once(() => takeBack(last)) }, t("feedback.undo"), h("kbd", { "aria-hidden": "true" }, "u"));
  let rows = new Map(); // id → { inspection, row, box, button }, as listed
  let chosen = null; // id of the part that the panel shows
  let waiting = 0; // parts that match, listed or not
  let elsewhere = 0; // parts that wait and do not match
  let last = []; // ids of the latest decision
  let deciding = false;
  let showing = new AbortController();
  signal.addEventListener("abort", () => showing.abort());
  const begin = paged(list, more, read, signal);

  fill(place, h("div", { class: "heading" }, h("h1", {}, t("nav.review")), state, fresh),
    wanted.element,
    h("div", { class: "heading" }, h("label", { class: "check", for: all.id }, all, t("review.all")), progress, h("div", { class: "actions" }, answers, undo)),
    h("div", { class: "feed-and-panel" }, h("div", { class: "view" }, list, more), panel));
  bind(["j", "ArrowDown"], t("review.next"), () => step(1), signal);
  bind(["k", "ArrowUp"], t("review.previous"), () => step(-1), signal);
  bind(["s"], t("review.mark"), () => mark(chosen, !rows.get(chosen)?.box.checked), signal);
  bind(["a"], t("review.all"), () => markAll(!all.checked), signal);
  bind(["Escape"], t("review.none"), () => markAll(false), signal);
  for (const [decision, key] of Object.entries(KEYS)) bind([key], t(`review.${decision}`), once(() => decide(decision)), signal);
  bind(["u"], t("feedback.undo"), once(() => takeBack(last)), signal);
  await again();
  onWaiting((count) => { fresh.hidden = count === null || count === waiting + elsewhere; }, signal);

  async function again() {
    history.replaceState(null, "", `#/review${wanted.addressQuery().size ? `?${wanted.addressQuery()}` : ""}`);
    rows = new Map();
    open(null);
    await begin();
  }

  async function read(cursor, mine) {
    const page = await get("/review", { ...wanted.apiQuery(), limit: PER_PAGE, cursor }, mine);
    if (cursor === null) {
      waiting = page.waiting;
      const total = wanted.addressQuery().size ? (await get("/review", { limit: 1 }, mine)).waiting : waiting;
      elsewhere = total - waiting;
    }
    const items = page.inspections.map(enlist);
    if (chosen === null) open(page.inspections[0]?.id ?? null);
    tellState();
    return { items, next: page.next_cursor };
  }

  function enlist(inspection) {
    const { id, verdict, category, station, filename, part_id: part, at, label, review } = inspection;
    const box = h("input", { type: "checkbox", "aria-label": t("review.mark.of", { name: part ?? filename }), onchange: () => mark(id, box.checked) });
    const button = h("button", { class: "feed-row", "aria-pressed": "false", onclick: () => open(id) },
      lazyImage(`/inspections/${id}/image`, "", { side: 96 }),
      h("span", { class: "what" }, badge(verdict), h("span", { class: "hint" }, [category, station].filter(Boolean).join(" · ")), h("span", { class: "hint" }, moment(at)),
        h("span", { class: "mark" }, [t(`review.reason.${review}`), label ? t(`label.${label}`) : null].filter(Boolean).join(" · "))),
      h("span", { class: "when" }, score(inspection.score)));
    const row = h("li", { class: `tone-${verdict}` }, h("label", { class: "check" }, box), button);
    rows.set(id, { inspection, row, box, button });
    return row;
  }

  function tellState() {
    setWaiting(waiting + elsewhere);
    fill(state, t("review.waiting", { count: waiting }));
    const marked = targets();
    for (const answer of answers) answer.disabled = deciding || marked.length === 0;
    undo.disabled = deciding || last.length === 0;
    all.checked = rows.size > 0 && [...rows.values()].every(({ box }) => box.checked);
    all.disabled = rows.size === 0;
  }

  function open(id) {
    showing.abort();
    showing = new AbortController();
    rows.get(chosen)?.button.setAttribute("aria-pressed", "false");
    chosen = id;
    if (id === null) {
      fill(panel, h("div", { class: "empty" }, h("p", {}, t("review.empty")), h("p", {}, t("review.meaning"))));
      return;
    }
    const { inspection, button, row } = rows.get(id);
    button.setAttribute("aria-pressed", "true");
    row.scrollIntoView({ block: "nearest" });
    fill(panel, inspectionPanel(inspection, { signal: showing.signal, judging: false }));
  }

  function step(by) {
    const ids = [...rows.keys()];
    const next = ids[Math.min(ids.length - 1, Math.max(0, ids.indexOf(chosen) + by))];
    if (next !== undefined && next !== chosen) open(next);
  }

  function mark(id, checked) {
    if (!rows.has(id)) return;
    rows.get(id).box.checked = checked;
    tellState();
  }

  function markAll(checked) {
    for (const { box } of rows.values()) box.checked = checked;
    tellState();
  }

  /** The ids that a decision is about: those that are marked, else the one that is shown. */
  function targets() {
    const marked = [...rows].filter(([, { box }]) => box.checked).map(([id]) => id);
    return marked.length || chosen === null ? marked : [chosen];
  }

  async function decide(decision, ids = targets(), confirm = false) {
    if (deciding || ids.length === 0) return;
    const inspection = rows.get(ids[0])?.inspection; // now: another search may begin meanwhile
    const outcomes = await sent(ids, decision, confirm);
    if (outcomes === null) return;
    const failed = outcomes.filter(({ error }) => error !== null);
    const doubtful = failed.filter(({ error }) => error.type === DOUBTFUL);
    const decided = outcomes.filter(({ error }) => error === null).map(({ inspection_id: id }) => id);
    if (decided.length) {
      last = decided;
      tell(t(`review.${decision}.said`, { count: decided.length }), { text: t("feedback.undo"), act: () => takeBack(decided) });
      leave(decided);
    }
    for (const { error } of failed) if (error.type !== DOUBTFUL) tellProblem(new Problem(error));
    if (doubtful.length > 0 && ids.length > 1) tell(t("review.doubtful", { count: doubtful.length }));
    else if (doubtful.length === 1 && (await wantedAllTheSame(inspection, doubtful[0].error))) await decide(decision, ids, true);
  }

  /** What became of each, or null where nothing did; what was decided before a failure is listed no longer. */
  async function sent(ids, decision, confirm) {
    deciding = true;
    tellState();
    progress.hidden = ids.length <= TOGETHER;
    const outcomes = [];
    try {
      for (let start = 0; start < ids.length; start += TOGETHER) {
        progress.value = start / ids.length;
        const json = { inspections: ids.slice(start, start + TOGETHER), decision, confirm };
        outcomes.push(...(await request("POST", "/review", { json, patient: true, signal })).results);
      }
    } catch (error) {
      if (signal.aborted) return null;
      tellProblem(error);
    } finally {
      deciding = false;
      progress.hidden = true;
      tellState();
    }
    return outcomes.length ? outcomes : null;
  }

  /** Take decided parts out of the list, and show the next one. */
  function leave(ids) {
    const decided = new Set(ids);
    const listed = [...rows.keys()];
    const position = listed.indexOf(chosen);
    const next = [...listed.slice(position), ...listed.slice(0, position).toReversed()].find((id) => !decided.has(id)) ?? null;
    for (const id of decided) {
      if (!rows.has(id)) continue; // another search began meanwhile
      rows.get(id).row.remove();
      rows.delete(id);
      waiting -= 1;
    }
    if (decided.has(chosen)) {
      chosen = null;
      open(next);
    }
    if (next === null && more.querySelector("button")) again();
    tellState();
  }

  async function takeBack(ids) {
    if (deciding || ids.length === 0) return;
    const outcomes = await sent(ids, "reopen", false);
    if (outcomes === null) return;
    if (ids === last) last = [];
    for (const { error } of outcomes) if (error !== null) tellProblem(new Problem(error));
    tell(t("feedback.undone"));
    await again();
    if (rows.has(ids[0])) open(ids[0]);
  }
}
