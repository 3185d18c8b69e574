// Where a category's images are inspected, drawn as areas on a reference image.

import { get, imageUrl, send } from "./api.js";
import { fill, h, s } from "./dom.js";
import { copied, middle, moved, withCornerMoved, withEdgeSplit, withoutCorner } from "./polygon.js";
import { tell, tellProblem } from "./toasts.js";
import { previewPanel } from "./settings-preview.js";
import { t } from "./i18n.js";

const SIDE = 1600;
const TRIED = 8; // references, to find one whose image is there
const [STEP, FINE] = [0.01, 0.002]; // of the image, by an arrow key, and with Shift
const [FEWEST, MOST_AREAS] = [3, 64];
const FRESH = [[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]];

/** Fill `place` with an editor of the category's region of interest, and a preview of what it would change. */
export async function showRegion(place, category, signal) {
  const { references } = await get("/references", { category: category.name, limit: TRIED }, signal);
  if (references.length === 0) {
    fill(place, h("p", { class: "empty" }, t("problem.no-references")));
    return;
  }
  const { reference: { id, width, height }, url } = await shown(references, signal);
  const path = `/categories/${encodeURIComponent(category.name)}`;
  const { panel, preview } = previewPanel(category.name, signal);
  let saved = category.settings.region_of_interest;
  let areas = copied(saved?.polygons ?? []);
  let history = [];
  let selected = 0;

  const image = h("img", { alt: t("region.on", { id: String(id) }) });
  const drawing = s("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": t("region.drawing"), "data-own-keys": true });
  const stage = h("div", { class: "region-stage" }, image, drawing);
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.setProperty("--shape", width / height);
  const told = h("p", { role: "status" });
  const button = (name, act, kind = "") => h("button", { class: kind, onclick: act }, t(`region.${name}`));
  const drop = button("drop", () => edit(() => { areas.splice(selected, 1); selected = 0; }));
  const undo = button("undo", () => { areas = history.pop(); selected = Math.min(selected, Math.max(0, areas.length - 1)); changed(); });
  const save = button("save", keep, "primary");
  const add = button("add", () => edit(() => { areas.push(copied([FRESH])[0]); selected = areas.length - 1; }));
  const everywhere = button("everywhere", () => edit(() => { areas = []; selected = 0; }));
  fill(place, h("div", { class: "two wide-left" },
    h("section", { class: "card", "aria-label": t("category.region") },
      h("p", { class: "hint" }, t("region.how")), stage, told,
      h("div", { class: "actions" }, add, drop, everywhere, undo, save)),
    panel));
  new ResizeObserver(draw).observe(stage);
  draw();
  changed(false);
  if (url === null) return;
  image.src = url;
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));

  function edit(act) {
    history.push(copied(areas));
    act();
    changed();
  }

  function body() {
    return { region_of_interest: areas.length === 0 ? null : { polygons: areas, ignored: saved?.ignored ?? [] } };
  }

  function same() {
    return saved?.mask ? history.length === 0 : JSON.stringify(areas) === JSON.stringify(saved?.polygons ?? []);
  }

  function changed(redraw = true) {
    drop.disabled = areas.length === 0;
    everywhere.disabled = areas.length === 0 && !saved?.mask;
    add.disabled = areas.length >= MOST_AREAS;
    undo.disabled = history.length === 0;
    save.disabled = same();
    fill(told, areas.length ? t("region.areas", { count: areas.length }) : t(saved?.mask && same() ? "region.mask" : "region.all"));
    if (redraw) draw();
    preview(same() ? null : body());
  }

  async function keep() {
    const before = saved;
    if (!(await patched(body()))) return;
    const act = async () => { if (await patched({ region_of_interest: { polygons: before.polygons, ignored: before.ignored } })) tell(t("settings.undone")); };
    const nothing = async () => { if (await patched({ region_of_interest: null })) tell(t("settings.undone")); };
    tell(t("region.saved"), before?.mask ? null : { text: t("feedback.undo"), act: before === null ? nothing : act });
  }

  async function patched(patch) {
    try {
      saved = (await send("PATCH", path, patch)).settings.region_of_interest;
      areas = copied(saved?.polygons ?? []);
      history = [];
      selected = 0;
      changed();
      return true;
    } catch (error) {
      tellProblem(error);
      return false;
    }
  }

  function draw() {
    const unit = width / Math.max(1, stage.clientWidth); // image pixels in one pixel of the screen
    const held = document.activeElement?.dataset?.corner;
    const [[left, top], , [right, bottom]] = category.geometry.inspected.polygon;
    const outside = `M0 0H${width}V${height}H0z` + (areas.length ? areas : [[[0, 0], [1, 0], [1, 1], [0, 1]]]).map(outline).join("");
    fill(drawing,
      areas.length ? s("path", { class: "outside", "fill-rule": "evenodd", d: outside }) : null,
      s("rect", { class: "seen", x: left * width, y: top * height, width: (right - left) * width, height: (bottom - top) * height }),
      areas.map((area, number) => drawnArea(area, number, unit)));
    if (held) drawing.querySelector(`[data-corner="${held}"]`)?.focus();
  }

  function outline(area) {
    return `M${area.map(([x, y]) => `${x * width} ${y * height}`).join("L")}z`;
  }

  function drawnArea(area, number, unit) {
    const chosen = number === selected;
    const shape = s("path", { d: outline(area), class: chosen ? "area chosen" : "area" });
    movable(shape, (delta) => { areas[number] = moved(areas[number], delta); }, () => { selected = number; });
    return s("g", {}, shape, chosen ? [
      ...area.map((_, index) => edgeMark(number, index, unit)),
      ...area.map((_, index) => cornerKnob(number, index, unit)),
    ] : []);
  }

  function cornerKnob(number, index, unit) {
    const [x, y] = areas[number][index];
    const name = t("region.corner", { corner: index + 1, corners: areas[number].length, area: number + 1 });
    const knob = s("g", { class: "corner", tabindex: 0, role: "button", "aria-label": name, "data-corner": `${number}-${index}`, transform: `translate(${x * width} ${y * height})` },
      s("circle", { class: "touch", r: 22 * unit }), s("circle", { r: 9 * unit }));
    const move = (delta) => { areas[number] = withCornerMoved(areas[number], index, delta); };
    const remove = () => { if (areas[number].length > FEWEST) edit(() => { areas[number] = withoutCorner(areas[number], index); }); };
    movable(knob, move);
    knob.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? FINE : STEP;
      const arrows = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (event.key in arrows) edit(() => move(arrows[event.key]));
      else if (event.key === "Delete" || event.key === "Backspace") remove();
      else if (event.key === "Enter" || event.key === " ") edit(() => { areas[number] = withEdgeSplit(areas[number], index); });
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    knob.addEventListener("dblclick", remove);
    return knob;
  }

  /** A small mark in the middle of an edge, to be dragged out into a corner. */
  function edgeMark(number, index, unit) {
    const [x, y] = middle(areas[number], index);
    const mark = s("g", { class: "middle", transform: `translate(${x * width} ${y * height})` },
      s("circle", { class: "touch", r: 18 * unit }), s("circle", { r: 6 * unit }));
    movable(mark, (delta) => { areas[number] = withCornerMoved(areas[number], index + 1, delta); },
      () => { areas[number] = withEdgeSplit(areas[number], index); });
    return mark;
  }

  /** Let an element be dragged: `follow([dx, dy])` in fractions of the image since the first touch, after `begun()`. */
  function movable(element, follow, begun = () => {}) {
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      const before = copied(areas);
      begun();
      const start = copied(areas);
      const [x, y] = at(event);
      let any = false;
      draw();
      const dragging = new AbortController();
      const mine = (act) => (next) => { if (next.pointerId === event.pointerId) act(next); };
      addEventListener("pointermove", mine(move_), { signal: dragging.signal });
      addEventListener("pointerup", mine(end), { signal: dragging.signal });
      addEventListener("pointercancel", mine(end), { signal: dragging.signal });

      function move_(next) {
        const [toX, toY] = at(next);
        any = true;
        areas = copied(start); // from where it was: what was held at an edge is under the pointer again when that returns
        follow([toX - x, toY - y]);
        draw();
      }

      function end() {
        dragging.abort();
        if (any) history.push(before);
        else areas = before; // touched, not moved
        changed();
      }
    });
  }

  /** Where a pointer is, in fractions of the image, also when the page has been scrolled meanwhile. */
  function at({ clientX, clientY }) {
    const box = stage.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  }
}

/** The first reference whose image is there, with it; without any image areas can still be drawn. */
async function shown(references, signal) {
  for (const reference of references) {
    try {
      return { reference, url: await imageUrl(`/references/${reference.id}/image`, { side: SIDE }, signal) };
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }
  return { reference: references[0], url: null };
}
