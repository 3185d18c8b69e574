// History: every inspection that is kept, to be searched, counted and taken away as CSV.

import { may } from "../access.js";
import { get } from "../api.js";
import { broken, chart, ticks } from "../chart.js";
import { fill, h } from "../dom.js";
import { download } from "../download.js";
import { filters } from "../filters.js";
import { inspectionPanel } from "../inspection.js";
import { bind } from "../keyboard.js";
import { load } from "../loading.js";
import { paretoChart } from "../pareto.js";
import { moment, number, score, t } from "../i18n.js";
import { lazyImage } from "../lazy-image.js";
import { dotsOf, thresholdPoints } from "../score-dots.js";
import { spanPicker } from "../span-picker.js";
import { fieldText } from "../time-span.js";
import { badge, VERDICTS } from "../verdict.js";

const PER_PAGE = 50;
const DOTS = 400; // inspections that are drawn one by one; of more, stretches of time are

export const role = "operator";

export async function show(place, { rest, query, signal }) {
  await (rest.length ? one(place, rest[0], signal) : many(place, query, signal));
}

async function one(place, id, signal) {
  const inspection = await get(`/inspections/${encodeURIComponent(id)}`, {}, signal);
  fill(place,
    h("div", { class: "heading" }, h("h1", {}, inspection.filename), h("a", { class: "button", href: "#/history", onclick: back }, t("history.back"))),
    h("div", { class: "holder" }, inspectionPanel(inspection, { signal })));
  bind(["b"], t("history.back"), back, signal);
}

function back(event) {
  if (history.length > 1) {
    event.preventDefault();
    history.back();
  } else location.hash = "#/history";
}

async function many(place, query, signal) {
  const wanted = await filters(["text", "category", "verdict", "station", "label", "defect_class", "since", "until"], query, again, signal);
  const spans = spanPicker(wanted.element, again);
  const trend = h("section", { class: "card", "aria-label": t("history.trend") });
  const pareto = h("section", { class: "card", "aria-label": t("history.pareto"), hidden: true });
  const older = h("button", { disabled: true, onclick: () => turn(1) }, t("history.older"));
  const newer = h("button", { disabled: true, onclick: () => turn(-1) }, t("history.newer"));
  const where = h("p", { role: "status" });
  const found = h("div", { class: "found" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const downloads = h("div", { class: "actions" },
    h("button", { onclick: () => download("/inspections", { ...wanted.apiQuery(), format: "csv" }, "inspections.csv", signal) }, t("history.csv")),
    ["pdf", "html"].map((format) => h("button", { onclick: () => download("/inspections/report", { ...wanted.apiQuery(), format, time_zone: zone }, `report.${format}`, signal) }, t(`history.report.${format}`))),
    may("engineer") ? h("button", { onclick: () => download("/inspections/dataset.zip", wanted.apiQuery(), "dataset.zip", signal) }, t("history.dataset")) : null);
  let cursors = [null]; // where each page up to the next one begins
  let page = 0;
  let amount = 0;
  let total = null;
  let asking = new AbortController(); // about a search
  let turning = new AbortController(); // to a page of it
  signal.addEventListener("abort", () => { asking.abort(); turning.abort(); });

  fill(place, h("div", { class: "heading" }, h("h1", {}, t("nav.history")), downloads), wanted.element, spans.element, trend, pareto, found,
    h("div", { class: "heading" }, where, h("div", { class: "actions" }, newer, older)));
  bind(["ArrowLeft"], t("history.newer"), () => turn(-1), signal);
  bind(["ArrowRight"], t("history.older"), () => turn(1), signal);
  bind(["/"], t("history.search"), () => wanted.element.querySelector("input").focus(), signal);
  // As it was when the reader left it, by a link or a reload.
  await ask(history.state?.cursors ?? [null]);

  function again() {
    const kept = wanted.addressQuery();
    history.replaceState(null, "", `#/history${kept.size ? `?${kept}` : ""}`);
    return ask([null]);
  }

  /** Ask for what the fields say, from the last page on of those that begin at `begins`. */
  async function ask(begins) {
    spans.update();
    asking.abort();
    asking = new AbortController();
    [cursors, total] = [begins, null];
    await Promise.all([showPage(begins.length - 1), load(trend, asking.signal, readTrend), load(pareto, asking.signal, readPareto)]);
  }

  async function turn(by) {
    if (page + by >= 0 && cursors[page + by] !== undefined) await showPage(page + by);
  }

  async function showPage(wantedPage) {
    turning.abort();
    turning = new AbortController();
    page = wantedPage;
    history.replaceState({ cursors: cursors.slice(0, page + 1) }, "");
    await load(found, turning.signal, async (mine) => {
      const { inspections, next_cursor: next } = await get("/inspections", { ...wanted.apiQuery(), limit: PER_PAGE, cursor: cursors[page] }, mine);
      cursors = cursors.slice(0, page + 1);
      if (next !== null) cursors.push(next);
      newer.disabled = page === 0;
      older.disabled = next === null;
      amount = inspections.length;
      tellWhere();
      return table(inspections);
    });
  }

  function tellWhere() {
    const first = page * PER_PAGE + 1;
    fill(where, amount ? t("history.where", { first, last: first + amount - 1, total: total === null ? "…" : number(total) }) : null);
  }

  async function readTrend(mine) {
    const query = wanted.apiQuery();
    const read = await get("/inspections/trend", { ...query, points: 80 }, mine);
    total = read.total;
    tellWhere();
    if (total === 0) return [h("h2", {}, t("history.trend")), h("p", { class: "hint" }, t("history.none"))];
    const mixed = read.categories > 1;
    const few = total <= DOTS ? (await get("/inspections", { ...query, limit: DOTS }, mine)).inspections : null;
    const drawn = few === null ? stretchesDrawn(read, mixed, narrowed) : dotsDrawn(few, read, mixed);
    return [h("h2", {}, t("history.trend")), mixed ? h("p", { class: "hint" }, t("history.mixed")) : null, drawn].filter(Boolean);
  }

  /** The address of this search within whole minutes that hold a stretch of seconds. */
  function narrowed(from, to) {
    const query = wanted.addressQuery();
    query.set("since", fieldText(new Date(Math.floor(from / 60) * 60_000)));
    query.set("until", fieldText(new Date(Math.ceil(to / 60) * 60_000)));
    return `#/history?${query}`;
  }

  /** Confirmed defects by class; no card where there are none. */
  async function readPareto(mine) {
    const counted = await get("/inspections/pareto", wanted.apiQuery(), mine);
    pareto.hidden = counted.total === 0;
    return counted.total === 0 ? [] : [h("h2", {}, t("history.pareto")), paretoChart(counted, (name) => {
      const query = wanted.addressQuery();
      query.set("label", "defect");
      if (name !== null) query.set("defect_class", name);
      return `#/history?${query}`;
    })];
  }
}

function table(inspections) {
  const columns = ["image", "verdict", "score", "threshold", "category", "station", "part_id", "filename", "at", "label"];
  return h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("history.table") }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((name) =>
      h("th", { scope: "col", class: name === "score" || name === "threshold" ? "number" : null }, t(`column.${name}`))))),
    h("tbody", {}, inspections.length ? inspections.map(line)
      : h("tr", {}, h("td", { colspan: columns.length, class: "empty" }, t("history.none"))))));
}

function line(inspection) {
  const { id, verdict, threshold, category, station, part_id: part, filename, at, label, defect_class: name, comment } = inspection;
  const address = `#/history/${id}`;
  return h("tr", { onclick: (event) => { if (!event.target.closest("a")) location.hash = address; } },
    h("td", { class: "small" }, lazyImage(`/inspections/${id}/image`, "", { side: 96 })),
    h("td", {}, h("a", { href: address }, badge(verdict))), h("td", { class: "number" }, score(inspection.score)), h("td", { class: "number" }, score(threshold)),
    [category, station, part, filename].map((text_) => h("td", { class: "free" }, text_)), h("td", { class: "at" }, moment(at)),
    h("td", { class: "said" }, label ? [t(`label.${label}`), name].filter(Boolean).join(": ") : null,
      comment ? h("span", { class: "hint", title: comment }, comment) : null));
}

const text = (seconds) => moment(new Date(seconds * 1000).toISOString());

/** Every inspection as a dot that opens it, and the threshold of its time. */
function dotsDrawn(inspections, { total, first, last }, mixed) {
  const dots = dotsOf(inspections, mixed);
  const [from, to] = [first, last].map((at) => Date.parse(at) / 1000);
  const highest = Math.max(0, ...dots.map(({ y, inspection }) => Math.max(y, mixed ? 1 : inspection.threshold ?? 0)));
  return scoreChart(total, from, to, highest, {
    lines: [{ kind: "threshold", name: t("history.threshold"), points: thresholdPoints(dots, mixed, from, to) }],
    dots: dots.map(({ inspection, x, y }) => ({
      x, y, kind: inspection.verdict, word: t(`verdict.${inspection.verdict}`), href: `#/history/${inspection.id}`,
      name: t("history.dot", { verdict: t(`verdict.${inspection.verdict}`), score: score(inspection.score), part: inspection.part_id ?? inspection.filename, at: moment(inspection.at) }),
    })),
  });
}

/** The highest and the mean score of stretches of time; the dot of a stretch leads to its inspections. */
function stretchesDrawn({ points, bucket_seconds: stretch, total }, mixed, narrowed) {
  const time = ({ at }) => Date.parse(at) / 1000;
  const from = time(points[0]);
  const to = time(points.at(-1)) + stretch;
  const [highest, mean] = mixed ? ["max_ratio", "mean_ratio"] : ["max", "mean"];
  const run = (name) => broken(points.map((point) => [time(point) + stretch / 2, point[name]]), 2.5 * stretch);
  const threshold = mixed ? [[from, 1], [to, 1]] : run("threshold");
  const top = Math.max(mixed ? 1 : 0, ...points.map((point) => Math.max(point[highest] ?? 0, (mixed ? 0 : point.threshold) ?? 0)));
  return scoreChart(total, from, to, top, {
    lines: [
      { kind: "threshold", name: t("history.threshold"), points: threshold },
      { kind: "max", name: t("history.max"), points: run(highest) },
      { kind: "mean", name: t("history.mean"), points: run(mean) },
    ],
    bars: points.map((each) => ({ x: time(each), width: stretch, parts: VERDICTS.map((kind) => ({ kind, value: each.verdicts[kind] ?? 0 })) })),
    dots: points.filter((point) => point[highest] !== null).map((point) => ({
      x: time(point) + stretch / 2, y: point[highest], kind: "stretch", href: narrowed(time(point), time(point) + stretch),
      name: t("history.stretch", { count: point.count, from: text(time(point)), to: text(time(point) + stretch) }),
    })),
  });
}

function scoreChart(total, from, to, highest, drawn) {
  const top = highest * 1.1 || 1;
  return chart({
    said: t("history.trend.said", { count: total, from: text(from), to: text(to) }), height: 220, ...drawn,
    across: { from, to, ticks: [[from, text(from)], [to, text(to)]] },
    up: { from: 0, to: top, ticks: ticks(0, top, (value) => number(value, 2)) },
  });
}
