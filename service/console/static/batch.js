// Inspects many images, and shows what became of each in a table to be sorted and taken away as CSV.

import { may } from "./access.js";
import { get } from "./api.js";
import { csvText } from "./csv.js";
import { idempotencyKey, inspectImage } from "./inspecting.js";
import { fill, h } from "./dom.js";
import { save } from "./download.js";
import { tellProblem } from "./toasts.js";
import { guard } from "./unsaved.js";
import { bytes, score, t } from "./i18n.js";
import { badge } from "./verdict.js";

const SIDE_BY_SIDE = 2; // requests: one image is on its way while another is encoded, and a line's parts find room
// Problems of a single image. Any other would be that of every image still to come.
const OWN = new Set(["image-rejected", "image-too-large", "unsupported-format", "request-too-large", "invalid-request", "other-proportions", "internal", "unreachable"]);
const COLUMNS = ["name", "verdict", "score", "threshold", "regions", "detail"];
const CSV_COLUMNS = ["file", "verdict", "score", "threshold", "regions", "category", "inspection", "detail"];
const NUMBERS = ["score", "threshold", "regions"];

/**
 * Fill `place` with a table of `sources` (see batch-sources.js) and inspect them: as parts of `category` ("": of
 * whichever fits), recorded where `record` says so. Goes on until all are inspected or `signal` is aborted; in memory
 * are the results, and at most two images.
 */
export async function showBatch(place, sources, { category, record, signal }) {
  const rows = sources.map(({ name, size, read }, index) => ({ index, name, size, read, key: idempotencyKey(), state: "waiting", found: null, detail: "" }));
  const status = h("p", { role: "status" });
  const bar = h("progress", { max: rows.length, value: 0, "aria-label": t("batch.progress") });
  const stop = h("button", { onclick: () => running.abort() }, t("batch.stop"));
  const goOn = h("button", { hidden: true, onclick: run }, t("batch.go-on"));
  const csv = h("button", { onclick: () => save(new Blob([csvText(CSV_COLUMNS, rows.map(cells))], { type: "text/csv" }), "batch.csv") }, t("history.csv"));
  const headings = COLUMNS.map((name) => h("th", { scope: "col", class: NUMBERS.includes(name) ? "number" : null, "aria-sort": "none" },
    h("button", { class: "quiet", onclick: () => sort(name) }, t(`batch.column.${name}`))));
  const body = h("tbody", {});
  const counts = { inspected: 0, refused: 0, rejected: 0 };
  let sorted = { name: null, up: true };
  let running = new AbortController();
  let isRunning = false;
  for (const row of rows) {
    row.line = h("tr", {});
    describe(row);
  }
  body.append(...rows.map(({ line }) => line));
  fill(place,
    h("section", { class: "card", "aria-label": t("batch.title") },
      h("div", { class: "heading" }, h("h2", {}, t("batch.title")), h("div", { class: "actions" }, stop, goOn, csv)),
      h("p", { class: "hint" }, t(record ? "batch.recorded" : "batch.unrecorded", { category: category || t("inspect.any") })),
      bar, status),
    h("div", { class: "table batch", tabindex: "0", role: "group", "aria-label": t("batch.title") },
      h("table", {}, h("thead", {}, h("tr", {}, headings)), body)));
  guard(() => (isRunning ? "unsent" : null), signal);
  await run();

  /** Inspect what has not been, unless it was refused. */
  async function run() {
    running = new AbortController();
    const mine = AbortSignal.any([signal, running.signal]);
    const waiting = rows.filter(({ state }) => state === "waiting");
    isRunning = true;
    tell();
    try {
      const { limits } = await get("/version", {}, mine);
      await Promise.all(Array.from({ length: SIDE_BY_SIDE }, async () => {
        while (waiting.length && !mine.aborted) await inspect(waiting.shift(), limits, mine);
      }));
    } catch (error) {
      running.abort();
      if (!signal.aborted) tellProblem(error);
    }
    isRunning = false;
    if (!signal.aborted) tell();
  }

  /** Inspect one image. Throws what would be the same with any other. */
  async function inspect(row, limits, mine) {
    try {
      if (row.size > limits.max_image_bytes) throw new Error(t("onboard.large", { most: bytes(limits.max_image_bytes) }));
      const file = await row.read();
      const found = await inspectImage(file, { category, record, signal: mine, key: row.key });
      const detail = found.advice ?? (record && !found.recorded ? t("inspection.unrecorded") : "");
      Object.assign(row, { found, detail, state: "inspected" });
      counts.rejected += found.verdict !== "normal";
    } catch (error) {
      if (mine.aborted) return;
      if (error.kind !== undefined && !OWN.has(error.kind)) throw error;
      Object.assign(row, { detail: error.message || error.title, state: "refused" });
    }
    counts[row.state] += 1;
    describe(row);
    tell();
  }

  function describe({ line, name, found, detail, state }) {
    const linked = found?.recorded && may("operator");
    fill(line,
      h("th", { scope: "row" }, linked ? h("a", { href: `#/history/${found.id}` }, name) : name),
      h("td", {}, found ? badge(found.verdict) : t(`batch.${state}`)),
      h("td", { class: "number" }, found ? score(found.score) : null), h("td", { class: "number" }, found ? score(found.threshold) : null),
      h("td", { class: "number" }, found ? String(found.regions.length) : null), h("td", {}, detail));
  }

  function tell() {
    const { inspected, refused, rejected } = counts;
    bar.value = inspected + refused;
    bar.hidden = inspected + refused === rows.length;
    stop.hidden = !isRunning;
    goOn.hidden = isRunning || bar.hidden;
    fill(status, t("batch.status", { done: inspected + refused, total: rows.length, normal: inspected - rejected, rejected, refused }));
  }

  function sort(name) {
    sorted = { name, up: sorted.name === name ? !sorted.up : true };
    headings.forEach((heading, index) => heading.setAttribute("aria-sort", COLUMNS[index] !== name ? "none" : sorted.up ? "ascending" : "descending"));
    rows.sort((one, other) => compare(value(one, name), value(other, name), sorted.up) || one.index - other.index);
    body.append(...rows.map(({ line }) => line));
  }
}

function value({ name, found, detail, state }, column) {
  if (column === "name") return name;
  if (column === "detail") return detail || null;
  if (column === "verdict") return found?.verdict ?? state;
  return column === "regions" ? found?.regions.length ?? null : found?.[column] ?? null;
}

/** Numbers by size and text as a reader counts, upwards or downwards; what has none comes last. */
function compare(one, other, up) {
  if (one === null || other === null) return (one === null) - (other === null);
  const order = typeof one === "number" ? one - other : one.localeCompare(other, undefined, { numeric: true });
  return up ? order : -order;
}

function cells({ name, found, detail, state }) {
  return [name, found?.verdict ?? state, found?.score, found?.threshold, found?.regions.length, found?.category, found?.recorded ? found.id : null, detail];
}
