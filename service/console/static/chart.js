// Draws values over time, small and plain, as SVG.

import { h, s } from "./dom.js";

const WIDTH = 960;
const LEFT = 52;
const BOTTOM = 24;
const STRIP = 46; // height of the bars below the lines

/**
 * `lines`: [{ kind, name, points: [[x, y], …] }]; a null y breaks the line. `bars`: [{ x, width, parts: [{ kind, value }] }].
 * `across` and `up`: { from, to, ticks: [[value, text], …] }. `said` is what a reader who does not see it is told.
 */
export function chart({ said, height = 220, lines, bars = [], across, up }) {
  const foot = height - BOTTOM - (bars.length ? STRIP + 8 : 0);
  const atX = (value) => LEFT + ((value - across.from) / (across.to - across.from || 1)) * (WIDTH - LEFT - 8);
  const atY = (value) => foot - ((value - up.from) / (up.to - up.from || 1)) * (foot - 8);
  const tallest = Math.max(1, ...bars.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0)));
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": said },
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
  const legend = lines.length > 1 ? h("p", { class: "legend" },
    lines.map(({ kind, name }) => h("span", { class: `key ${kind}` }, name))) : null;
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
