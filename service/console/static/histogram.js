// Where the references' own scores lie, and a threshold to be dragged through them.
//
// A line at the i-th highest score stands for the i-th of the rates that the service names.

import { BINS, binOf, binned } from "./binning.js";
import { h, s } from "./dom.js";
import { percent, score, t } from "./i18n.js";

const [HEIGHT, FOOT] = [190, 26]; // pixels, as the style sheet has them

/**
 * A histogram of ascending scores with a line and a slider for the rate, at first `rates[index]`;
 * `chosen(rate, threshold, beyond)` is called at once and at each move.
 */
export function histogram(scores, rates, index, chosen) {
  const count = scores.length;
  const ranks = rates.length;
  const [low, high] = [scores[0], scores.at(-1)];
  const wide = Math.max(high - low, 1e-6);
  const [from, to] = [low - wide * 0.05, high + wide * 0.08];
  const bins = binned(scores, from, to);
  const tallest = Math.max(...bins);
  const bars = bins.map(() => s("rect"));
  const axis = s("line", { class: "axis", x1: 0, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT });
  const ends = [low, high].map((value) => s("text", { y: HEIGHT - 6, "text-anchor": "middle" }, score(value)));
  const line = s("g", { class: "cut" },
    s("rect", { class: "grip", x: -22, width: 44, y: 0, height: HEIGHT - FOOT }),
    s("line", { y1: 0, y2: HEIGHT - FOOT }), s("circle", { cy: 10, r: 9 }));
  const drawing = s("svg", { class: "histogram", "aria-hidden": "true" }, bars, axis, ends, line);
  const slider = h("input", { type: "range", id: "rate", min: 1, max: ranks, step: 1, "data-own-keys": true, oninput: () => set(Number(slider.value)) });
  const told = h("output", { for: "rate" });
  let cut = scores[count - index - 1];
  drawing.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault(); // of a selection, which the next drag would carry away
    drawing.setPointerCapture(event.pointerId);
    drag(event);
  });
  drawing.addEventListener("pointermove", (event) => { if (drawing.hasPointerCapture(event.pointerId)) drag(event); });
  new ResizeObserver(draw).observe(drawing);
  set(index + 1);
  return h("div", { class: "rating" }, drawing,
    h("div", { class: "field" }, h("label", { for: "rate" }, t("rating.rate")), slider), told);

  /** Everything at its place for as wide as the drawing is: one unit is one pixel. */
  function draw() {
    const { width } = drawing.getBoundingClientRect();
    const x = (value) => ((value - from) / (to - from)) * width;
    bars.forEach((bar, number) => {
      const height = (bins[number] / tallest) * (HEIGHT - FOOT - 12);
      const at = { x: (number * width) / BINS + 1, width: Math.max(1, width / BINS - 2), y: HEIGHT - FOOT - height, height };
      for (const [name, value] of Object.entries(at)) bar.setAttribute(name, value);
      bar.classList.toggle("beyond", number > binOf(cut, from, to));
    });
    axis.setAttribute("x2", width);
    ends.forEach((text, number) => text.setAttribute("x", x([low, high][number])));
    line.setAttribute("transform", `translate(${x(cut)} 0)`);
  }

  function drag(event) {
    const box = drawing.getBoundingClientRect();
    const value = from + ((event.clientX - box.left) / box.width) * (to - from);
    set(nearestRank(scores, value, ranks));
  }

  function set(place) {
    cut = scores[count - place];
    const beyond = scores.filter((value) => value > cut).length;
    slider.value = place;
    draw();
    const rate = rates[place - 1];
    told.textContent = t("rating.told", { rate: percent(rate), threshold: score(cut), beyond, total: count });
    slider.setAttribute("aria-valuetext", told.textContent);
    chosen(rate, cut, beyond);
  }
}

/** Among the `count` highest of ascending scores, the rank of the one nearest to a value; 1 is the highest. */
export function nearestRank(scores, value, count) {
  const distances = scores.slice(-count).map((candidate) => Math.abs(candidate - value));
  return count - distances.indexOf(Math.min(...distances));
}
