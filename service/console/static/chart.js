// Draws values over time, small and plain, as SVG.

import { h, s } from "./dom.js";
import { nearest } from "./score-dots.js";

const WIDTH = 960;
const LEFT = 52;
const BOTTOM = 24;
const STRIP = 46; // height of the bars below the lines
const REACH = 24; // how far from a dot a click may be, in pixels of the screen
const DOTS = { // a shape for each verdict: the colour only helps
  normal: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
  anomalous: "M0 -6L6 0L0 6L-6 0z",
  unfamiliar: "M0 -6L5.5 4.5H-5.5z",
  uncalibrated: "M-4 -4H4V4H-4z",
  stretch: "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z",
};

/**
 * `lines`: [{ kind, name, points: [[x, y], …] }]; a null y breaks the line. `bars`: [{ x, width, parts: [{ kind, value }] }].
 * `dots`: [{ x, y, kind, href, name, word }] in order of x, each a link: one of them is reached with Tab, the others with
 * the arrow keys, and a click takes the nearest; `word` is what the legend calls its kind, where it has it. `across` and
 * `up`: { from, to, ticks: [[value, text], …] }. `said` is what a reader who does not see it is told.
 */
export function chart({ said, height = 220, lines, bars = [], dots = [], across, up }) {
  const foot = height - BOTTOM - (bars.length ? STRIP + 8 : 0);
  const atX = (value) => LEFT + ((value - across.from) / (across.to - across.from || 1)) * (WIDTH - LEFT - 8);
  const atY = (value) => foot - ((value - up.from) / (up.to - up.from || 1)) * (foot - 8);
  const tallest = Math.max(1, ...bars.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0)));
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: dots.length ? "group" : "img", "aria-label": said },
    up.ticks.map(([value, text]) => [
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: atY(value), y2: atY(value) }),
      s("text", { x: LEFT - 8, y: atY(value) + 4, "text-anchor": "end" }, text),
    ]).flat(),
    across.ticks.map(([value, text], index, { length }) => s("text", {
      x: atX(value), y: height - 6, "text-anchor": index === 0 ? "start" : index === length - 1 ? "end" : "middle",
    }, text)),
    bars.map((bar) => stacked(bar, atX, height - BOTTOM, tallest)).flat(),
    lines.map(({ kind, points }) => s("path", { class: `line ${kind}`, d: path(points, atX, atY) })),
  );
  if (dots.length) addDots(drawing, dots, atX, atY);
  const words = new Map(dots.filter(({ word }) => word).map(({ kind, word }) => [kind, word]));
  const legend = lines.length > 1 || words.size ? h("p", { class: "legend" },
    lines.map(({ kind, name }) => h("span", { class: `key ${kind}` }, name)),
    [...words].map(([kind, word]) => h("span", { class: `shape tone-${kind}` }, s("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" }, s("path", { d: DOTS[kind] })), word))) : null;
  return h("figure", { class: "chart" }, drawing, legend);
}

/** Points in order of x, with the line broken wherever two are further apart than `gap`. */
export function broken(points, gap) {
  return points.flatMap((point, index) => (index > 0 && point[0] - points[index - 1][0] > gap ? [[point[0], null], point] : [point]));
}

/** A few round values between two, as many as fit, with their texts. */
export function ticks(from, to, format, count = 4) {
  const rough = (to - from || 1) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * (1 - 1e-9));
  const labelled = [];
  for (let value = Math.ceil(from / step - 1e-9) * step; value <= to + step * 1e-9; value += step) labelled.push([value + 0, format(value + 0)]);
  return labelled;
}

function addDots(drawing, dots, atX, atY) {
  const places = dots.map(({ x, y }) => [atX(x), atY(y)]);
  const links = dots.map(({ kind, href, name }, index) => s("a", { href, class: `dot tone-${kind}`, "aria-label": name, tabindex: -1 },
    s("path", { d: DOTS[kind], transform: `translate(${places[index].map((place) => place.toFixed(1)).join(" ")})` }, s("title", {}, name))));
  const last = links.length - 1;
  links[last].setAttribute("tabindex", 0);
  drawing.append(s("g", { "data-own-keys": true }, links));
  drawing.addEventListener("click", (event) => {
    if (event.target.closest("a")) return;
    const { left, top, width } = drawing.getBoundingClientRect();
    const scale = WIDTH / width;
    const index = nearest(places, [(event.clientX - left) * scale, (event.clientY - top) * scale], REACH * scale);
    if (index >= 0) location.hash = dots[index].href;
  });
  drawing.addEventListener("keydown", (event) => {
    const from = links.indexOf(event.target.closest("a"));
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (from < 0 || !links[to]) return;
    event.preventDefault();
    links[from].setAttribute("tabindex", -1);
    links[to].setAttribute("tabindex", 0);
    links[to].focus();
  });
}

function stacked({ x, width, parts }, atX, foot, tallest) {
  const left = atX(x);
  const wide = Math.max(1, atX(x + width) - left - 1);
  let y = foot;
  return parts.filter(({ value }) => value > 0).map(({ kind, value }) => {
    const high = (value / tallest) * STRIP;
    y -= high;
    return s("rect", { class: `bar-part tone-${kind}`, x: left, y, width: wide, height: high });
  });
}

/** The path of a line through points, drawn where `atX` and `atY` put them. */
export function path(points, atX, atY) {
  let drawn = "";
  let pen = "M";
  for (const [x, y] of points) {
    if (y === null) { pen = "M"; continue; }
    drawn += `${pen}${atX(x).toFixed(1)} ${atY(y).toFixed(1)}${pen === "M" ? "h0" : ""}`; // a point alone is a dot
    pen = "L";
  }
  return drawn;
}
