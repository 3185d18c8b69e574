// Where the references' own scores lie, and a threshold to be dragged through them.
//
// A rate r lets the ⌊r (n + 1)⌋ highest of n scores decide: the threshold is the lowest of these. So a line at the
// i-th highest score stands for the rate i / (n + 1), and i − 1 references lie beyond it.

import { h, s } from "./dom.js";
import { percent, score, t } from "./strings.js";

const [WIDTH, HEIGHT, FOOT] = [720, 180, 26];
const BINS = 36;

/** The number of highest scores that decide at a rate. */
export function deciding(rate, count) {
  return Math.min(count, Math.max(1, Math.floor(rate * (count + 1) + 1e-9)));
}

/**
 * A histogram of ascending scores with a line and a slider for the rate; `chosen(rate, threshold, beyond)` is called
 * at once and at each move.
 */
export function histogram(scores, rate, chosen) {
  const count = scores.length;
  const most = Math.max(1, Math.floor((count + 1) / 2));
  const [low, high] = [scores[0], scores.at(-1)];
  const wide = Math.max(high - low, 1e-6);
  const [from, to] = [low - wide * 0.05, high + wide * 0.08];
  const x = (value) => ((value - from) / (to - from)) * WIDTH;
  const bins = new Array(BINS).fill(0);
  const binOf = (value) => Math.min(BINS - 1, Math.floor(((value - from) / (to - from)) * BINS));
  for (const each of scores) bins[binOf(each)] += 1;
  const tallest = Math.max(...bins);
  const bars = bins.map((amount, number) => s("rect", {
    x: (number * WIDTH) / BINS + 1, width: WIDTH / BINS - 2, height: (amount / tallest) * (HEIGHT - FOOT - 12),
    y: HEIGHT - FOOT - (amount / tallest) * (HEIGHT - FOOT - 12),
  }));
  const line = s("g", { class: "cut" },
    s("rect", { class: "grip", x: -22, width: 44, y: 0, height: HEIGHT - FOOT }),
    s("line", { y1: 0, y2: HEIGHT - FOOT }), s("circle", { cy: 10, r: 9 }));
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "histogram", "aria-hidden": "true" },
    bars, s("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT }),
    [low, high].map((value) => s("text", { x: x(value), y: HEIGHT - 6, "text-anchor": "middle" }, score(value))), line);
  const slider = h("input", { type: "range", id: "rate", min: 1, max: most, step: 1, "data-own-keys": true, oninput: () => set(Number(slider.value)) });
  const told = h("output", { for: "rate" });
  drawing.addEventListener("pointerdown", (event) => { drawing.setPointerCapture(event.pointerId); drag(event); });
  drawing.addEventListener("pointermove", (event) => { if (drawing.hasPointerCapture(event.pointerId)) drag(event); });
  set(deciding(rate, count));
  return h("div", { class: "rating" }, drawing,
    h("div", { class: "field" }, h("label", { for: "rate" }, t("rating.rate")), slider), told);

  function drag(event) {
    const box = drawing.getBoundingClientRect();
    const value = from + ((event.clientX - box.left) / box.width) * (to - from);
    set(Math.min(most, Math.max(1, scores.filter((each) => each >= value).length)));
  }

  function set(place) {
    const threshold = scores[count - place];
    const beyond = scores.filter((each) => each > threshold).length;
    slider.value = place;
    line.setAttribute("transform", `translate(${x(threshold)} 0)`);
    bars.forEach((bar, number) => bar.classList.toggle("beyond", number > binOf(threshold)));
    // A millionth more, so that rounding to decimals cannot make it a rate that decides by one score fewer.
    const exact = Math.ceil((place / (count + 1)) * 1e6) / 1e6;
    told.textContent = t("rating.told", { rate: percent(exact), threshold: score(threshold), beyond, total: count });
    slider.setAttribute("aria-valuetext", told.textContent);
    chosen(exact, threshold, beyond);
  }
}
