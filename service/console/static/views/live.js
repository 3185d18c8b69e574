// Live: what the lines inspect, as they inspect it.

import { get } from "../api.js";
import { chart, ticks } from "../chart.js";
import { driftAlert } from "../drift.js";
import { fill, h } from "../dom.js";
import { filters } from "../filters.js";
import { inspectionPanel } from "../inspection.js";
import { bind } from "../keyboard.js";
import { load, loading } from "../loading.js";
import { passes, runningYield } from "../running-yield.js";
import { follow } from "../stream.js";
import { stationCamera } from "../station-camera.js";
import { clock, number, percent, score, t } from "../i18n.js";
import { lazyImage } from "../lazy-image.js";
import { badge } from "../verdict.js";

const KEPT = 200; // inspections in the list
const SETTLING_MS = 800; // after another part has come by itself, a key may have been meant for the one before

export const role = "operator";

export async function show(place, { query, signal }) {
  const list = h("ol", { class: "feed", "aria-label": t("live.list") });
  const panel = h("div", { class: "holder" });
  const state = h("p", { class: "state", role: "status" });
  const figures = h("div", { class: "figures" });
  const graph = h("div", {});
  const camera = stationCamera({ remembered: "live", open: true, signal });
  const following = h("button", { "aria-pressed": "true", onclick: () => setFollowing(!isFollowing) },
    t("live.follow"), h("kbd", { "aria-hidden": "true" }, "f"));
  const wanted = await filters(["station", "category", "verdict"], query, again, signal);
  let rows = new Map(); // id → { inspection, row }, newest first
  let chosen = null;
  let isFollowing = true;
  let moved = -Infinity; // when another part came forward by itself
  let drawn = false;
  let showing = new AbortController();
  let streaming = new AbortController();
  signal.addEventListener("abort", () => { showing.abort(); streaming.abort(); });

  fill(place, h("div", { class: "heading" }, h("h1", {}, t("nav.live")), state), driftAlert(signal),
    h("div", { class: "heading" }, wanted.element, following),
    h("section", { class: "card yield", "aria-label": t("live.yield") }, figures, graph),
    h("div", { class: "feed-and-panel" }, h("div", { class: "camera-and-feed" }, camera.element, list), panel));
  bind(["j", "ArrowDown"], t("live.older"), () => step(1), signal);
  bind(["k", "ArrowUp"], t("live.newer"), () => step(-1), signal);
  bind(["f"], t("live.follow"), () => setFollowing(!isFollowing), signal);
  await again();

  async function again() {
    history.replaceState(null, "", `#/live${wanted.addressQuery().size ? `?${wanted.addressQuery()}` : ""}`);
    streaming.abort();
    streaming = new AbortController();
    const mine = streaming.signal;
    showing.abort();
    rows = new Map();
    chosen = null;
    fill(list);
    tellState("lost", "");
    camera.show(wanted.apiQuery().station);
    fill(panel, loading());
    await load(panel, mine, async (trying) => {
      const { inspections } = await get("/inspections", { ...wanted.apiQuery(), limit: KEPT }, trying);
      inspections.toReversed().forEach(enlist);
      draw();
      open((inspections.find(({ verdict }) => verdict !== "normal") ?? inspections[0])?.id ?? null);
    });
    if (mine.aborted) return;
    await load(panel, mine, (trying) => follow(wanted.apiQuery(), [...rows.keys()][0] ?? null, {
      arrived, signal: trying, state: (now) => tellState(now, t(`live.${now}`)),
    }));
  }

  function tellState(kind, text) {
    state.className = `state ${kind}`;
    fill(state, text);
  }

  function enlist(inspection) {
    const row = h("li", {}, h("button", { class: "feed-row", "aria-pressed": "false", onclick: () => { setFollowing(false); open(inspection.id); } }));
    rows = new Map([[inspection.id, { inspection, row }], ...[...rows].slice(0, KEPT - 1)]);
    describe(inspection, row);
    list.prepend(row);
    while (list.children.length > rows.size) list.lastChild.remove();
  }

  function arrived(inspection) {
    if (rows.has(inspection.id)) return;
    enlist(inspection);
    if (chosen === null) {
      open(inspection.id);
    } else if (isFollowing && inspection.verdict !== "normal" && !isWriting()) {
      moved = performance.now();
      open(inspection.id);
    }
    if (!drawn) { drawn = true; requestAnimationFrame(draw); }
  }

  /** Whether a comment is being typed: its letters would be keys if another part came in its place. */
  function isWriting() {
    return panel.querySelector("input[type=text]:focus") !== null;
  }

  function describe(inspection, row) {
    const { id, verdict, category, station, at, label } = inspection;
    row.className = `tone-${verdict}`;
    fill(row.firstChild,
      lazyImage(`/inspections/${id}/image`, "", { side: 96 }),
      h("span", { class: "what" }, badge(verdict), h("span", { class: "hint" }, [category, station].filter(Boolean).join(" · "))),
      h("span", { class: "when" }, h("span", {}, score(inspection.score)), h("span", { class: "hint" }, clock(at)),
        label ? h("span", { class: "mark" }, t(`label.${label}`)) : null));
  }

  function open(id) {
    showing.abort();
    showing = new AbortController();
    if (rows.has(chosen)) rows.get(chosen).row.firstChild.setAttribute("aria-pressed", "false");
    chosen = id;
    if (id === null) {
      fill(panel, h("p", { class: "empty" }, t("live.waiting")));
      return;
    }
    const { inspection, row } = rows.get(id);
    row.firstChild.setAttribute("aria-pressed", "true");
    fill(panel, inspectionPanel(inspection, {
      signal: showing.signal,
      settled: () => performance.now() - moved > SETTLING_MS,
      changed: (now) => {
        if (!rows.has(id)) return;
        rows.get(id).inspection = now;
        describe(now, rows.get(id).row);
        draw();
      },
    }));
  }

  function step(by) {
    const ids = [...rows.keys()];
    const next = ids[Math.min(ids.length - 1, Math.max(0, ids.indexOf(chosen) + by))];
    if (next === undefined) return;
    setFollowing(false);
    moved = -Infinity;
    open(next);
    rows.get(next).row.scrollIntoView({ block: "nearest" });
  }

  function setFollowing(on) {
    isFollowing = on;
    if (!on) moved = -Infinity;
    following.setAttribute("aria-pressed", String(on));
  }

  function draw() {
    drawn = false;
    if (signal.aborted) return;
    const passed = [...rows.values()].map(({ inspection }) => passes(inspection)).reverse().filter((good) => good !== null);
    const points = runningYield(passed);
    const rejected = passed.filter((good) => !good).length;
    const now = points.length ? points.at(-1)[1] : null;
    const figure = (name, value) => h("div", {}, h("strong", {}, value), h("span", { class: "hint" }, t(name)));
    fill(figures,
      figure("live.yield.now", now === null ? "–" : percent(now)), figure("live.shown", number(rows.size)),
      figure("live.rejected", number(rejected)));
    if (points.length < 2) {
      fill(graph, h("p", { class: "hint" }, t("live.few")));
      return;
    }
    const low = Math.min(0.9, Math.floor(Math.min(...points.map(([, share]) => share)) * 10) / 10);
    fill(graph, chart({
      said: t("live.yield.said", { count: passed.length, share: percent(now) }), height: 150,
      lines: [{ kind: "yield", name: t("live.yield"), points }],
      across: { from: points[0][0], to: passed.length - 1, ticks: [[points[0][0], t("live.ago", { count: points.length - 1 })], [passed.length - 1, t("live.now")]] },
      up: { from: low, to: 1, ticks: ticks(low, 1, (value) => percent(value, 0), 3) },
    }));
  }
}
