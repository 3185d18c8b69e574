// History: every inspection that is kept, to be searched, counted and taken away as CSV.

import { get, picture, request } from "../api.js";
import { broken, chart, ticks } from "../chart.js";
import { fill, h } from "../dom.js";
import { filters } from "../filters.js";
import { inspectionPanel } from "../inspection.js";
import { bind } from "../keyboard.js";
import { problemPanel, tellProblem } from "../notices.js";
import { moment, number, score, t } from "../strings.js";
import { badge, VERDICTS } from "../verdict.js";

const PER_PAGE = 50;

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
  const wanted = await filters(["text", "category", "verdict", "station", "judgement", "since", "until"], query, again, signal);
  const trend = h("section", { class: "card", "aria-label": t("history.trend") });
  const body = h("tbody", {});
  const older = h("button", { onclick: () => turn(1) }, t("history.older"));
  const newer = h("button", { onclick: () => turn(-1) }, t("history.newer"));
  const where = h("p", { role: "status" });
  const trouble = h("div", {});
  const csv = h("button", { onclick: download }, t("history.csv"));
  let cursors = [null]; // where each page up to the next one begins
  let page = 0;
  let total = null;
  let asking = new AbortController();
  signal.addEventListener("abort", () => asking.abort());

  fill(place,
    h("div", { class: "heading" }, h("h1", {}, t("nav.history")), csv), wanted.element, trouble, trend,
    h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("history.table") }, h("table", {},
      h("thead", {}, h("tr", {}, ["picture", "verdict", "score", "threshold", "category", "station", "part_id", "filename", "at", "judgement"].map((name) =>
        h("th", { scope: "col", class: name === "score" || name === "threshold" ? "number" : null }, t(`column.${name}`))))), body)),
    h("div", { class: "heading" }, where, h("div", { class: "actions" }, newer, older)));
  bind(["ArrowLeft"], t("history.newer"), () => turn(-1), signal);
  bind(["ArrowRight"], t("history.older"), () => turn(1), signal);
  bind(["/"], t("history.search"), () => wanted.element.querySelector("input").focus(), signal);
  await again();

  async function again() {
    const kept = wanted.kept();
    history.replaceState(null, "", `#/history${kept.size ? `?${kept}` : ""}`);
    asking.abort();
    asking = new AbortController();
    [cursors, page, total] = [[null], 0, null];
    await Promise.all([load(asking.signal), loadTrend(asking.signal)]);
  }

  async function turn(by) {
    if (page + by < 0 || cursors[page + by] === undefined) return;
    page += by;
    await load(asking.signal);
  }

  async function load(mine) {
    try {
      const found = await get("/inspections", { ...wanted.asked(), limit: PER_PAGE, cursor: cursors[page] }, mine);
      if (mine.aborted) return;
      cursors = cursors.slice(0, page + 1);
      if (found.next_cursor !== null) cursors.push(found.next_cursor);
      fill(trouble);
      fill(body, found.inspections.length ? found.inspections.map(line)
        : h("tr", {}, h("td", { colspan: 10, class: "empty" }, t("history.none"))));
      newer.disabled = page === 0;
      older.disabled = cursors[page + 1] === undefined;
      tellWhere(found.inspections.length);
    } catch (error) {
      if (error.name !== "AbortError") fill(trouble, problemPanel(error));
    }
  }

  function tellWhere(amount) {
    const first = page * PER_PAGE + 1;
    if (amount) fill(where, t("history.where", { first, last: first + amount - 1, total: total === null ? "…" : number(total) }));
    else fill(where);
  }

  async function loadTrend(mine) {
    try {
      const found = await get("/inspections/trend", { ...wanted.asked(), points: 80 }, mine);
      if (mine.aborted) return;
      total = found.total;
      tellWhere(body.querySelectorAll("tr:not(:has(.empty))").length);
      fill(trend, h("h2", {}, t("history.trend")), found.points.length ? drawn(found) : h("p", { class: "hint" }, t("history.none")));
    } catch (error) {
      if (error.name !== "AbortError") fill(trend, problemPanel(error));
    }
  }

  async function download() {
    csv.disabled = true;
    try {
      const answer = await request("GET", "/inspections", { query: { ...wanted.asked(), format: "csv" }, signal });
      const link = h("a", { href: URL.createObjectURL(await answer.blob()), download: "inspections.csv" });
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      tellProblem(error);
    }
    csv.disabled = false;
  }
}

function line(inspection) {
  const { id, verdict, threshold, category, station, part_id: part, filename, at, judgement } = inspection;
  const address = `#/history/${id}`;
  return h("tr", { onclick: (event) => { if (!event.target.closest("a")) location.hash = address; } },
    h("td", { class: "small" }, picture(`/inspections/${id}/image`, "", { side: 96 })),
    h("td", {}, h("a", { href: address }, badge(verdict))), h("td", { class: "number" }, score(inspection.score)), h("td", { class: "number" }, score(threshold)),
    h("td", {}, category), h("td", {}, station), h("td", {}, part), h("td", {}, filename), h("td", {}, moment(at)),
    h("td", {}, judgement ? t(`judgement.${judgement}`) : null));
}

function drawn({ points, stretch_seconds: stretch, total }) {
  const time = ({ at }) => Date.parse(at) / 1000;
  const from = time(points[0]);
  const to = time(points.at(-1)) + stretch;
  const most = Math.max(...points.map(({ highest, threshold }) => Math.max(highest, threshold ?? 0)));
  const run = (name) => broken(points.map((point) => [time(point) + stretch / 2, point[name]]), 2.5 * stretch);
  const text = (seconds) => moment(new Date(seconds * 1000).toISOString());
  return chart({
    said: t("history.trend.said", { count: total, from: text(from), to: text(to) }), height: 200,
    lines: [
      { kind: "threshold", name: t("history.threshold"), points: run("threshold") },
      { kind: "highest", name: t("history.highest"), points: run("highest") },
      { kind: "mean", name: t("history.mean"), points: run("mean") },
    ],
    bars: points.map((each) => ({ x: time(each), width: stretch, parts: VERDICTS.map((kind) => ({ kind, value: each.verdicts[kind] ?? 0 })) })),
    across: { from, to, ticks: [[from, text(from)], [to, text(to)]] },
    up: { from: 0, to: most * 1.1, ticks: ticks(0, most * 1.1, (value) => number(value, 2)) },
  });
}
