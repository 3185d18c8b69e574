// The confirmed defects by class as a Pareto chart: bars, and the line of their cumulative share, on one scale.

import { h, s } from "./dom.js";
import { number, percent, t } from "./i18n.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP] = [960, 200, 44, 52, 10];
const MAX_BARS = 12; // with more, the others are summed up in the last

/** The chart of `GET /inspections/pareto`, with a link for each class; `addressOf(defect_class)` is where it leads. */
export function paretoChart({ total, bars }, addressOf) {
  const shown = bars.length > MAX_BARS ? [...bars.slice(0, MAX_BARS - 1), summedUp(bars.slice(MAX_BARS - 1))] : bars;
  const wide = (WIDTH - LEFT - RIGHT) / shown.length;
  const middle = (index) => LEFT + (index + 0.5) * wide;
  const y = (share) => TOP + (1 - share) * (HEIGHT - TOP);
  const names = shown.map(({ defect_class: name, others }) => (others ? t("pareto.others", { classes: others }) : name ?? t("pareto.unnamed")));
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 24}`, role: "img", "aria-label": t("pareto.said", { count: total, name: names[0], share: percent(shown[0].share) }) },
    [0, 0.5, 1].map((share) => [
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(share), y2: y(share) }),
      s("text", { x: WIDTH - RIGHT + 8, y: y(share) + 4 }, percent(share, 0)),
    ]).flat(),
    [0, total].map((count) => s("text", { x: LEFT - 8, y: y(count / total) + 4, "text-anchor": "end" }, number(count))),
    shown.map(({ share }, index) => s("rect", {
      class: "bar-part tone-anomalous", x: middle(index) - wide * 0.4, width: wide * 0.8, y: y(share), height: HEIGHT - y(share),
    })),
    shown.map((_, index) => s("text", { x: middle(index), y: HEIGHT + 16, "text-anchor": "middle" }, number(index + 1))),
    s("path", { class: "line threshold", d: shown.map(({ cumulative_share: share }, index) => `${index ? "L" : "M"}${middle(index)} ${y(share)}`).join("") }));
  return h("figure", { class: "chart pareto" }, drawing,
    h("p", { class: "legend" }, h("span", { class: "key threshold" }, t("pareto.cumulative"))),
    h("ol", {}, shown.map(({ count, share, cumulative_share: sum, defect_class: name, others }, index) => h("li", {},
      others ? names[index] : h("a", { href: addressOf(name) }, names[index]),
      h("span", { class: "hint" }, t("pareto.bar", { defects: number(count), share: percent(share), sum: percent(sum) }))))));
}

function summedUp(bars) {
  const sum = (key) => bars.reduce((all, bar) => all + bar[key], 0);
  return { defect_class: null, others: bars.length, count: sum("count"), share: sum("share"), cumulative_share: 1 };
}
