// The stations of line agents, as each agent last reported them: what works there, and the last part.

import { h } from "./dom.js";
import { moment, number, t } from "./i18n.js";

const TONES = { working: "normal", failing: "anomalous", silent: "uncalibrated" };
const COLUMNS = ["role", "name", "state", "count", "last", "error"];

/** What stands at a station: `silent` when its agent has stopped reporting, `failing` when a part of it has an error. */
export function stationState({ silent, components }) {
  if (silent) return "silent";
  return components.some(({ error }) => error !== null) ? "failing" : "working";
}

/** A table with a heading for each station, and below it a row for its source, and for each gate and sink. */
export function stationsTable(stations) {
  if (stations.length === 0) return h("p", { class: "hint" }, t("stations.none"));
  return h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("system.stations") }, h("table", {},
    h("thead", {}, h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col", class: name === "count" ? "number" : null }, t(`stations.column.${name}`))))),
    stations.map((station) => h("tbody", {}, heading(station), station.components.map((component) => row(component, station.silent))))));
}

function heading(station) {
  const { name, reported_at: reported, started_at: started, parts, last_part: last, sends_frames: hasCamera } = station;
  const state = stationState(station);
  return h("tr", {}, h("th", { scope: "rowgroup", colspan: COLUMNS.length }, h("div", { class: "station" },
    h("strong", {}, name),
    h("span", { class: `verdict tone-${TONES[state]}` }, t(`stations.${state}`, { at: moment(reported) })),
    h("span", {}, t("stations.parts", { count: parts, at: moment(started) })),
    last === null ? null : h("span", {}, lastPart(last)),
    hasCamera ? h("a", { href: `#/live?station=${encodeURIComponent(name)}` }, t("stations.watch")) : null)));
}

function lastPart({ part_id: part, captured_at: at, decision, inspection_id: id }) {
  const text = t("stations.last", { part, at: moment(at), decision: t(`stations.decision.${decision}`) });
  return id === null ? text : h("a", { href: `#/history/${encodeURIComponent(id)}` }, text);
}

function row({ role, name, error, last_error: last, last_error_at: failed, count, last_at: at }, silent) {
  const state = error === null ? "working" : "failing";
  return h("tr", {},
    h("td", {}, t(`stations.role.${role}`)), h("td", { class: "address" }, name),
    h("td", {}, silent ? "–" : h("span", { class: `verdict tone-${TONES[state]}` }, t(`stations.${state}`))),
    h("td", { class: "number" }, role === "agent" ? "–" : number(count)), h("td", {}, at === null ? "–" : moment(at)),
    h("td", { class: "address" }, last === null ? "–" : [h("span", {}, last), h("span", { class: "hint" }, ` ${moment(failed)}`)]));
}
