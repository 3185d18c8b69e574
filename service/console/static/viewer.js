// Shows an image with its heat and its regions, to be zoomed and moved with a pointer, with fingers or with keys.

import { h, s } from "./dom.js";
import { number, percent, t } from "./i18n.js";
import { inspectedArea } from "./inspected-area.js";
import { WHOLE, panned, zoomed } from "./view-transform.js";

const STEP = 1.4;
const STILL = 4; // pixels that a pointer may stray and still have clicked

/**
 * `size`: { width, height } that `regions` (from the API) are told in. `choose(index)` is called when one is clicked;
 * `warmed`: whether there is heat to be shown. `inspected`: what of the image was, as the API has it; the rest is
 * dimmed. Returns { element, image, heat, select, zoom, toggleHeat, missing }; the
 * two <img> are for the caller to fill, and `missing(text)` says why the first stays empty.
 */
export function viewer({ size, regions, alt, choose, warmed, inspected = null }) {
  const image = h("img", { class: "part", alt, draggable: "false" });
  const heat = h("img", { class: "heat", alt: "", draggable: "false" });
  const shapes = regions.map((region, index) =>
    s("g", { class: "region", onclick: () => { if (!strayed) choose(index); } },
      s("polygon", { points: region.polygon.map((corner) => corner.join(",")).join(" ") }),
      s("text", { x: region.box[0], y: region.box[1] }, String(index + 1))));
  const outlines = s("svg", { viewBox: `0 0 ${size.width} ${size.height}`, "aria-hidden": "true" }, inspected === null ? [] : inspectedArea(inspected, size), shapes);
  const world = h("div", { class: "world" }, image, heat, outlines);
  const stage = h("div", { class: "stage", tabindex: "0", role: "group", "aria-label": t("viewer.keys"), "data-own-keys": "" }, world);
  stage.style.aspectRatio = `${size.width} / ${size.height}`;
  stage.style.setProperty("--shape", size.width / size.height);

  const slider = h("input", { type: "range", id: "heat", min: 0, max: 100, value: 60, oninput: warm });
  const level = h("output", { for: "heat" });
  const button = (text, act, label) => h("button", { "aria-label": t(text), title: t(text), onclick: act }, label);
  const element = h("figure", { class: "viewer" }, stage,
    h("div", { class: "tools" },
      warmed ? [h("label", { for: "heat" }, t("viewer.heat")), slider, level] : h("span", { class: "stretch" }),
      button("viewer.out", () => zoom(1 / STEP), "−"), button("viewer.in", () => zoom(STEP), "+"),
      button("viewer.fit", fit, "1:1"),
    ));

  let view = WHOLE, strayed = false, before = 60;
  const pointers = new Map();

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(STEP ** (-event.deltaY / 120), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    strayed = false;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, from: [event.clientX, event.clientY] });
  });
  stage.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (event.buttons === 0) pointers.delete(event.pointerId); // let go outside
    if (!pointer || event.buttons === 0) return;
    if (Math.hypot(event.clientX - pointer.from[0], event.clientY - pointer.from[1]) > STILL && !strayed) {
      strayed = true;
      stage.setPointerCapture(event.pointerId);
    }
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const box = stage.getBoundingClientRect();
      const was = Math.hypot(pointer.x - other.x, pointer.y - other.y);
      const is = Math.hypot(event.clientX - other.x, event.clientY - other.y);
      if (was > 0) zoom(is / was, (event.clientX + other.x) / 2 - box.left, (event.clientY + other.y) / 2 - box.top);
    } else if (strayed) {
      move(event.clientX - pointer.x, event.clientY - pointer.y);
    }
    pointer.x = event.clientX;
    pointer.y = event.clientY;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  stage.addEventListener("keydown", (event) => {
    const acts = {
      "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: fit,
      ArrowLeft: () => move(60, 0), ArrowRight: () => move(-60, 0), ArrowUp: () => move(0, 60), ArrowDown: () => move(0, -60),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    acts[event.key]();
  });

  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    place(zoomed(view, factor, { x, y }, frame()));
  }

  function move(dx, dy) {
    place(panned(view, dx, dy, frame()));
  }

  function fit() {
    place(WHOLE);
  }

  function frame() {
    return { width: stage.clientWidth, height: stage.clientHeight };
  }

  function place(next) {
    view = next;
    const { scale, x, y } = view;
    world.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    world.style.setProperty("--zoom", scale);
    stage.style.touchAction = scale > 1 ? "none" : "pan-y";
    stage.dataset.zoom = number(scale, 2);
    const letters = (0.045 * Math.max(size.width, size.height)) / Math.sqrt(scale);
    for (const shape of shapes) shape.lastChild.setAttribute("font-size", letters);
  }

  function warm() {
    heat.style.opacity = slider.value / 100;
    level.textContent = percent(slider.value / 100, 0);
    for (const shape of shapes) shape.classList.toggle("faint", slider.value === "0");
  }

  place(WHOLE);
  warm();
  return {
    element, image, heat, zoom,
    missing: (text) => stage.append(h("p", { class: "missing-text" }, text)),
    select: (index) => shapes.forEach((shape, at) => shape.classList.toggle("chosen", at === index)),
    toggleHeat: () => {
      if (slider.value !== "0") before = slider.value;
      slider.value = slider.value === "0" ? before : 0;
      warm();
    },
  };
}
