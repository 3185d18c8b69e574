// Operator: the last part, OK or NG, to be read from two metres, and what a person says of it.
//
// Letters and digits are a barcode scanner's, which types a part's number and Enter: no single one of them does anything.

import { get } from "../api.js";
import { alarm } from "../alarm.js";
import { defectDetails } from "../defect-details.js";
import { driftAlert } from "../drift.js";
import { fill, h, once } from "../dom.js";
import { judge } from "../feedback.js";
import { filters } from "../filters.js";
import { bind } from "../keyboard.js";
import { load, repeat } from "../loading.js";
import { countsOf, shiftStart, shiftYield, withPart } from "../shift.js";
import { stationCamera } from "../station-camera.js";
import { follow } from "../stream.js";
import { tell, tellProblem } from "../toasts.js";
import { clock, number, percent, score, t } from "../i18n.js";
import { lazyImage } from "../lazy-image.js";
import { REJECTING, badge, isReject } from "../verdict.js";

const REJECTS = 6; // shown
const SEEN = 200; // ids remembered
const SETTLING_MS = 800; // after another part has come by itself, a click may have been meant for the one before
const PINNED_MS = 60_000; // that an earlier part stays before the last one comes back by itself
const SHIFT = "touchstone-shift"; // when it began
const SHIFT_CHECK_MS = 30_000;
const SIDE = 1280;

export const role = "operator";

export async function show(place, { query, signal }) {
  const wanted = await filters(["station", "category"], query, again, signal);
  const state = h("p", { class: "state", role: "status" });
  const field = h("input", { type: "text", id: "part", maxlength: 128, autocomplete: "off" });
  const finder = h("form", { class: "finder", onsubmit: find },
    h("label", { for: "part" }, t("operator.find")), field, h("button", {}, t("operator.find.act")));
  const sound = alarm();
  const part = h("section", { class: "last-part", "aria-label": t("inspection.verdict"), "aria-live": "polite" });
  let since = shiftStart(localStorage.getItem(SHIFT), new Date());
  const counted = h("h2", {}, shiftTitle());
  const figures = h("div", { class: "figures" });
  const counters = h("section", { class: "card counters" }, counted, figures, h("button", { onclick: begin }, t("operator.shift.new")));
  const rejects = h("ul", { class: "rejects" });
  const answers = h("div", { class: "answers" });
  const camera = stationCamera({ remembered: "operator", open: false, signal });
  let last = null; // the latest inspection
  let pinned = null; // an earlier one that is looked at
  let moved = -Infinity; // when another part came forward by itself
  let unpinning = null;
  // What is drawn: a click on a button that is replaced while it is pressed is lost, so that only what changed is replaced.
  let drawn = null; // the inspection
  let listed = null; // the rejects
  let rejected = []; // inspections, newest first
  let counts = countsOf([]);
  let countedTo = 0; // when the latest part was inspected that `counts` had from the service
  let counting = false;
  let outdated = false; // whether something has come that the count that is being asked for may not have
  let finding = new AbortController();
  let seen = []; // ids that are known, newest first: the stream may bring one again
  let streaming = new AbortController();
  signal.addEventListener("abort", () => { streaming.abort(); finding.abort(); clearTimeout(unpinning); });
  fill(place,
    h("h1", { class: "unseen" }, t("nav.operator")),
    h("div", { class: "heading" }, wanted.element, finder, h("label", { class: "check", for: "sound" }, sound.element, t("operator.sound")), state),
    driftAlert(signal),
    h("div", { class: "screen" }, part,
      h("div", { class: "beside" }, counters, camera.element, h("section", { class: "card listed", "aria-label": t("operator.rejects") }, h("h2", {}, t("operator.rejects")), rejects), answers)));
  bind(["F2"], t("feedback.defect"), () => say("defect"), signal);
  bind(["F4"], t("feedback.good"), () => say("good"), signal);
  bind(["F8"], t("feedback.undo"), () => say("none"), signal);
  bind(["Escape"], t("operator.back"), unpin, signal);
  // Before any other listener: what a scanner types belongs into the field.
  addEventListener("keydown", (event) => {
    const writes = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (!writes || event.target.matches("input:not([type=checkbox]), select") || document.querySelector("dialog[open]")) return;
    event.stopPropagation();
    field.focus();
  }, { capture: true, signal });
  repeat(SHIFT_CHECK_MS, nextShift, signal);
  await again();

  async function again() {
    history.replaceState(null, "", `#/operator${wanted.addressQuery().size ? `?${wanted.addressQuery()}` : ""}`);
    streaming.abort();
    streaming = new AbortController();
    const mine = streaming.signal;
    tellState("lost", "");
    camera.show(wanted.apiQuery().station);
    await load(part, mine, async (trying) => {
      const asked = wanted.apiQuery();
      const [{ inspections }, ...lists] = await Promise.all([
        get("/inspections", { ...asked, limit: SEEN }, trying),
        ...REJECTING.map((verdict) => get("/inspections", { ...asked, verdict, limit: REJECTS }, trying)),
      ]);
      await count(trying);
      last = inspections[0] ?? null;
      seen = inspections.map(({ id }) => id);
      rejected = lists.flatMap((page) => page.inspections).sort((one, other) => other.at.localeCompare(one.at)).slice(0, REJECTS);
      pinned = null;
    });
    if (mine.aborted) return;
    await load(part, mine, (trying) => {
      drawn = null; // after a try that failed, its reason stands in the part's place
      draw();
      return follow(wanted.apiQuery(), last?.id ?? null, {
        arrived, signal: trying, state: (now) => tellState(now, t(`live.${now}`)),
      });
    });
  }

  /** Count the shift's parts anew; those that the stream brings are added. */
  async function count(mine) {
    const from = since;
    const { points, last: latest } = await get("/inspections/trend", { ...wanted.apiQuery(), since: from.toISOString(), points: 1 }, mine);
    if (from !== since) return; // another shift has begun
    counts = countsOf(points);
    countedTo = latest === null ? 0 : Date.parse(latest);
  }

  /** Count anew while parts go on coming; once more if one came meanwhile, which the answer may have or not. */
  async function recount() {
    outdated = true;
    if (counting) return;
    counting = true;
    try {
      while (outdated) {
        outdated = false;
        await count(streaming.signal);
      }
    } catch {
      // another search counts by itself
    } finally {
      counting = false;
    }
    draw();
  }

  /** Count for the shift that it is by now: a screen is left on for days, and the shift may be begun on another page. */
  async function nextShift() {
    const start = shiftStart(localStorage.getItem(SHIFT), new Date());
    if (start.getTime() === since.getTime()) return;
    since = start;
    await recount();
  }

  function tellState(kind, text) {
    state.className = `state ${kind}`;
    fill(state, text);
  }

  function arrived(inspection) {
    if (seen.includes(inspection.id)) return;
    seen = [inspection.id, ...seen].slice(0, SEEN);
    if (last === null || Date.parse(inspection.at) >= Date.parse(last.at)) last = inspection; // one may be recorded late
    if (Date.parse(inspection.at) > countedTo) counts = withPart(counts, inspection.verdict);
    if (counting || Date.parse(inspection.at) <= countedTo) recount(); // it was recorded after a later one, perhaps after the count
    if (isReject(inspection.verdict) && !rejected.some(({ id }) => id === inspection.id)) {
      rejected = [inspection, ...rejected].slice(0, REJECTS);
      sound.ring();
    }
    if (pinned === null) moved = performance.now();
    draw();
  }

  function find(event) {
    event.preventDefault();
    const wantedPart = field.value.trim();
    field.value = "";
    field.blur(); // so that keys are the screen's again
    finding.abort();
    finding = new AbortController();
    if (wantedPart !== "") look(wantedPart, finding.signal); // not awaited: the next scan may come before the answer, and counts
  }

  async function look(wantedPart, mine) {
    try {
      const { inspections: [inspection] } = await get("/inspections", { part_id: wantedPart, limit: 1 }, mine);
      if (inspection) pin(inspection);
      else tell(t("operator.find.none", { part: wantedPart }));
    } catch (error) {
      tellProblem(error);
    }
  }

  function pin(inspection) {
    clearTimeout(unpinning);
    pinned = inspection.id === last?.id ? null : inspection;
    if (pinned) unpinning = setTimeout(() => { unpin(); moved = performance.now(); }, PINNED_MS);
    moved = -Infinity;
    draw();
  }

  function unpin() {
    clearTimeout(unpinning);
    pinned = null;
    moved = -Infinity;
    draw();
  }

  async function say(label, details = {}) {
    const inspection = pinned ?? last;
    if (inspection === null) return;
    if (pinned === null && performance.now() - moved < SETTLING_MS) {
      tell(t("feedback.moved"));
      return;
    }
    await judge(inspection, label, (now) => {
      if (last?.id === now.id) last = now;
      if (pinned?.id === now.id) pinned = now;
      rejected = rejected.map((each) => (each.id === now.id ? now : each));
      draw();
    }, details);
  }

  function shiftTitle() {
    return t("operator.shift", { since: clock(since.toISOString(), "short") });
  }

  function draw() {
    if (signal.aborted) return;
    const shown = pinned ?? last;
    if (shown !== drawn || shown === null) drawPart(shown);
    const share = shiftYield(counts);
    fill(counted, shiftTitle());
    fill(figures, figure("parts", number(counts.parts)), figure("ok", number(counts.ok)), figure("ng", number(counts.ng)),
      figure("yield", share === null ? "–" : percent(share)));
    if (rejected !== listed) {
      listed = rejected;
      fill(rejects, rejected.length ? rejected.map((inspection) => h("li", {}, reject(inspection))) : h("li", { class: "hint" }, t("operator.rejects.none")));
    }
    rejected.forEach(({ id }, index) => rejects.children[index].firstChild.setAttribute("aria-pressed", String(id === shown?.id)));
  }

  function drawPart(inspection) {
    drawn = inspection;
    if (inspection === null) {
      fill(part, h("p", { class: "empty" }, t("operator.waiting")));
      fill(answers);
      return;
    }
    const { verdict, label, category, station, part_id: number_, filename, at, threshold } = inspection;
    const which = [number_ ?? filename, clock(at), station, category].filter(Boolean).join(" · "); // the longest last: it may be cut
    part.className = `last-part tone-${verdict}${pinned ? " pinned" : ""}`;
    fill(part,
      pinned ? h("div", { class: "earlier" }, h("strong", {}, t("operator.pinned")), h("button", { onclick: unpin }, t("operator.back"))) : null,
      h("p", { class: "word" }, badge(verdict, t(`operator.${verdict}`))),
      h("p", { class: "which", title: which }, which),
      h("p", { class: "why" },
        verdict === "normal" ? null : h("strong", {}, t(`verdict.${verdict}`), " "),
        threshold === null ? t("score.alone", { score: score(inspection.score) })
          : t("score.against", { score: score(inspection.score), threshold: score(threshold), times: number(inspection.score / threshold, 2) }),
        label ? h("span", { class: "mark" }, ` ${t(`label.${label}`)}`) : null),
      warmed(inspection, SIDE, t("operator.image")));
    const button = (said, key, kind) => h("button", { class: kind, "aria-pressed": String(label === said), onclick: once(() => say(said)) },
      t(`feedback.${said}`), h("kbd", { "aria-hidden": "true" }, key));
    fill(answers, button("defect", "F2", "danger"), button("good", "F4", "good"),
      label === "defect" ? defectDetails(inspection, (details) => say("defect", details), { comment: false }) : null,
      h("button", { disabled: label === null, onclick: once(() => say("none")) }, t("feedback.undo"), h("kbd", { "aria-hidden": "true" }, "F8")));
  }

  function reject(inspection) {
    const { verdict, part_id: number_, filename, at, label } = inspection;
    return h("button", {
      class: `reject tone-${verdict}`, onclick: () => pin(inspection),
      "aria-label": t("operator.reject", { verdict: t(`verdict.${verdict}`), part: number_ ?? filename, at: clock(at) }),
    }, warmed(inspection, 240, ""), h("span", {}, clock(at)), label ? h("span", { class: "mark" }, t(`label.${label}`)) : null);
  }

  function begin() {
    since = new Date();
    localStorage.setItem(SHIFT, since.toISOString());
    counts = countsOf([]);
    draw();
    tell(t("operator.shift.begun"));
  }
}

function figure(name, value) {
  return h("div", { class: `figure of-${name}` }, h("strong", {}, value), h("span", { class: "hint" }, t(`operator.${name}`)));
}

/** An inspection's image with its heat over it. */
function warmed({ id, width, height }, side, alt) {
  const shape = h("span", { class: "warmed" }, lazyImage(`/inspections/${id}/image`, alt, { side }), lazyImage(`/inspections/${id}/heat.png`, ""));
  shape.style.aspectRatio = `${width} / ${height}`;
  shape.style.setProperty("--shape", width / height);
  return shape;
}
