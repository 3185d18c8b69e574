// Where a category's images are inspected, drawn on a reference image: areas that are inspected, and ignored ones.

import { get, imageUrl, request, send } from "./api.js";
import { ellipse, rectangle, stroke } from "./area-shapes.js";
import { confirmed } from "./dialog.js";
import { fill, h, s } from "./dom.js";
import { inspectedArea, outline } from "./inspected-area.js";
import { copied, middle, moved, withCornerMoved, withEdgeSplit, withoutCorner } from "./polygon.js";
import { outdated } from "./outdated.js";
import { Timeline } from "./timeline.js";
import { tell, tellProblem } from "./toasts.js";
import { guard } from "./unsaved.js";
import { previewPanel } from "./settings-preview.js";
import { percent, t } from "./i18n.js";

const SIDE = 1600;
const BENEATH = 100; // references, of which one can be chosen to draw on
const [STEP, FINE] = [0.01, 0.002]; // of the image, by an arrow key, and with Shift
const [FEWEST, MOST_AREAS] = [3, 64];
const SMALLEST = 0.005; // of the image, that a rectangle or an ellipse is long
const FRESH = [[0.3, 0.3], [0.7, 0.7]];
const KINDS = ["polygons", "ignored"];
const TOOLS = ["adjust", "rectangle", "ellipse", "brush"];

/** Fill `place` with an editor of the category's region of interest, and a preview of what it would change. */
export async function showRegion(place, category, signal) {
  const { references } = await get("/references", { category: category.name, limit: BENEATH }, signal);
  if (references.length === 0) {
    fill(place, h("p", { class: "empty" }, t("problem.no-references")));
    return;
  }
  const path = `/categories/${encodeURIComponent(category.name)}`;
  const { panel, preview } = previewPanel(category.name, signal);
  const seen = category.geometry.inspected.polygon; // by the encoder
  const timeline = new Timeline();
  let saved = category.settings.region_of_interest;
  let areas = areasOf(saved); // { kind, polygon }
  let selected = 0;
  let tool = "adjust";
  let kind = "polygons";
  let size = { width: 1, height: 1 }; // pixels of the image beneath
  let beneath = 0;
  let url = null; // of that image

  const image = h("img", {});
  const drawing = s("svg", { role: "group", "aria-label": t("region.drawing"), "data-own-keys": true });
  const stage = h("div", { class: "region-stage" }, image, drawing);
  const told = h("p", { role: "status" });
  const button = (name, act, type = "") => h("button", { class: type, onclick: act }, t(`region.${name}`));
  const drop = button("drop", () => edit(() => { areas.splice(selected, 1); selected = 0; }));
  const turn = button("turn", () => edit(() => { areas[selected].kind = KINDS.find((each) => each !== areas[selected].kind); }));
  const undo = button("undo", () => step("undo"));
  const redo = button("redo", () => step("redo"));
  const save = button("save", keep, "primary");
  const add = button("add", () => edit(() => put(tool === "ellipse" ? ellipse(...FRESH) : rectangle(...FRESH))));
  const everywhere = button("everywhere", () => edit(() => { areas = []; selected = 0; }));
  const file = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": t("region.upload"), onchange: upload });
  const [width, widthTold] = [h("input", { type: "range", id: "brush", min: 1, max: 20, value: 5, oninput: () => { widthTold.textContent = percent(width.value / 100, 0); } }), h("output", { for: "brush" }, percent(0.05, 0))];
  const brush = h("div", { class: "tools" }, h("label", { for: "brush" }, t("region.width")), width, widthTold);
  const which = h("span", { class: "hint", role: "status" });
  const [previous, next] = [-1, 1].map((by) => button(by < 0 ? "earlier" : "later", () => show(beneath + by)));
  fill(place, h("div", { class: "two wide-left" },
    h("section", { class: "card", "aria-label": t("category.region") },
      h("p", { class: "hint" }, t("region.how")),
      h("div", { class: "actions region-tools" }, choice("kind", KINDS, kind, (name) => { kind = name; }), choice("tool", TOOLS, tool, (name) => { tool = name; draw(); }), brush),
      stage, told,
      h("div", { class: "actions" }, previous, next, which),
      h("div", { class: "actions" }, add, turn, drop, everywhere, h("button", { onclick: () => file.click() }, t("region.upload")), file),
      h("div", { class: "actions" }, undo, redo, save)),
    panel));
  drawing.addEventListener("pointerdown", begin, true);
  guard(() => (same() ? null : "unsaved"), signal);
  addEventListener("keydown", shortcut, { signal });
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  await show(0, 1);
  new ResizeObserver(draw).observe(stage);
  changed();

  /** Buttons of which one is pressed. */
  function choice(name, values, chosen, choose) {
    const buttons = values.map((value) => h("button", {
      "aria-pressed": String(value === chosen),
      onclick: () => {
        buttons.forEach((other, index) => other.setAttribute("aria-pressed", String(values[index] === value)));
        choose(value);
      },
    }, t(`region.${name}.${value}`)));
    return h("div", { class: "actions", role: "group", "aria-label": t(`region.${name}`) }, buttons);
  }

  /** Lay a reference beneath; where its image is gone the next one `by` a direction, at last none. */
  async function show(index, by = index < beneath ? -1 : 1) {
    for (let at = index; at >= 0 && at < references.length; at += by) {
      try {
        const found = await imageUrl(`/references/${references[at].id}/image`, { side: SIDE }, signal);
        URL.revokeObjectURL(url);
        url = found;
        beneath = at;
        break;
      } catch (error) {
        if (error.status !== 404) throw error;
      }
    }
    const { id, filename } = references[beneath];
    size = { width: references[beneath].width, height: references[beneath].height };
    if (url !== null) image.src = url;
    image.alt = t("region.on", { id: String(id) });
    drawing.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    stage.style.aspectRatio = `${size.width} / ${size.height}`;
    stage.style.setProperty("--shape", size.width / size.height);
    previous.disabled = beneath === 0;
    next.disabled = beneath === references.length - 1;
    fill(which, t("region.beneath", { name: filename, number: beneath + 1, total: references.length }));
    draw();
  }

  function shortcut(event) {
    if (!(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const direction = key === "y" || (key === "z" && event.shiftKey) ? "redo" : key === "z" ? "undo" : null;
    if (direction === null) return;
    event.preventDefault();
    if (direction === "undo" ? timeline.undoable : timeline.redoable) step(direction);
  }

  function step(direction) {
    areas = timeline[direction](areas);
    selected = Math.min(selected, Math.max(0, areas.length - 1));
    changed();
  }

  function edit(act) {
    timeline.add(clone(areas));
    act();
    changed();
  }

  function put(polygon) {
    areas.push({ kind, polygon });
    selected = areas.length - 1;
  }

  function full() {
    return areas.filter((area) => area.kind === kind).length >= MOST_AREAS;
  }

  function body() {
    return { region_of_interest: regionOf(areas) };
  }

  function same() {
    return saved?.mask ? !timeline.undoable : JSON.stringify(regionOf(areas)) === JSON.stringify(regionOf(areasOf(saved)));
  }

  function changed() {
    drop.disabled = turn.disabled = areas.length === 0;
    everywhere.disabled = areas.length === 0 && !saved?.mask;
    undo.disabled = !timeline.undoable;
    redo.disabled = !timeline.redoable;
    save.disabled = same();
    const [inspected, ignored] = KINDS.map((name) => areas.filter((area) => area.kind === name).length);
    fill(told, inspected ? t("region.areas", { count: inspected }) : t(saved?.mask && same() ? "region.mask" : "region.all"),
      ignored ? ` ${t("region.ignoring", { count: ignored })}` : null, same() ? null : ` ${t("region.unsaved")}`);
    draw();
    preview(same() ? null : body());
  }

  async function keep() {
    const wanted = body();
    let before = saved;
    if (await patched(async () => {
      before = await replaceable();
      return send("PATCH", path, wanted);
    })) offerUndo(before);
  }

  /** What is saved now. Where that is not what was read, somebody else has drawn: an AbortError unless it may be replaced. */
  async function replaceable() {
    const now = (await get(path, {}, signal)).settings.region_of_interest;
    if (JSON.stringify(now) !== JSON.stringify(saved)) {
      const content = h("p", {}, t("region.replace.meaning"));
      if (!(await confirmed({ title: t("region.replace.title"), content, act: t("region.replace") }))) throw new DOMException("", "AbortError");
    }
    return now;
  }

  async function upload() {
    const [mask] = file.files;
    if (mask === undefined) return;
    const [before, form] = [saved, new FormData()];
    form.append("images", mask, mask.name);
    file.value = "";
    if (await patched(() => request("PUT", `${path}/region-of-interest`, { form }))) offerUndo(before);
  }

  function offerUndo(before) {
    const region = before && { polygons: before.polygons, ignored: before.ignored };
    const act = async () => {
      if (!(await patched(() => send("PATCH", path, { region_of_interest: region })))) return;
      tell(t("settings.undone"));
      if (signal.aborted) outdated(category.name);
    };
    tell(t("region.saved"), before?.mask ? null : { text: t("feedback.undo"), act });
  }

  /** Whether what is asked for was saved. What is drawn meanwhile is kept, unsaved. */
  async function patched(ask) {
    const before = JSON.stringify(areas);
    try {
      saved = (await ask()).settings.region_of_interest;
    } catch (error) {
      tellProblem(error);
      return false;
    }
    if (JSON.stringify(areas) === before) {
      areas = areasOf(saved);
      timeline.clear();
      selected = 0;
    }
    changed();
    return true;
  }

  function draw() {
    const unit = size.width / Math.max(1, stage.clientWidth); // image pixels in one pixel of the screen
    const held = document.activeElement?.dataset?.corner;
    const [[left, top], , [right, bottom]] = seen;
    const region = regionOf(areas) ?? { polygons: [], ignored: [] };
    add.disabled = full();
    brush.hidden = tool !== "brush";
    drawing.classList.toggle("painting", tool !== "adjust");
    fill(drawing, inspectedArea({ fraction: 0, polygon: seen, region }, size),
      s("rect", { class: "seen", x: left * size.width, y: top * size.height, width: (right - left) * size.width, height: (bottom - top) * size.height }),
      areas.map((area, number) => drawnArea(area, number, unit)));
    if (held) drawing.querySelector(`[data-corner="${held}"]`)?.focus();
  }

  function drawnArea(area, number, unit) {
    const chosen = number === selected;
    const shape = s("path", { d: outline(area.polygon, size), class: `area ${area.kind} ${chosen ? "chosen" : ""}` });
    movable(shape, (delta) => { areas[number].polygon = moved(areas[number].polygon, delta); }, () => { selected = number; });
    return s("g", {}, shape, chosen && tool === "adjust" ? [
      ...area.polygon.map((_, index) => edgeMark(number, index, unit)),
      ...area.polygon.map((_, index) => cornerKnob(number, index, unit)),
    ] : []);
  }

  function cornerKnob(number, index, unit) {
    const area = areas[number];
    const [x, y] = area.polygon[index];
    const name = t("region.corner", { corner: index + 1, corners: area.polygon.length, area: number + 1 });
    const knob = s("g", { class: "corner", tabindex: 0, role: "button", "aria-label": name, "data-corner": `${number}-${index}`, transform: `translate(${x * size.width} ${y * size.height})` },
      s("circle", { class: "touch", r: 22 * unit }), s("circle", { r: 9 * unit }));
    const reshape = (change, ...given) => { areas[number].polygon = change(areas[number].polygon, index, ...given); };
    const remove = () => { if (area.polygon.length > FEWEST) edit(() => reshape(withoutCorner)); };
    movable(knob, (delta) => reshape(withCornerMoved, delta));
    knob.addEventListener("keydown", (event) => {
      const distance = event.shiftKey ? FINE : STEP;
      const arrows = { ArrowLeft: [-distance, 0], ArrowRight: [distance, 0], ArrowUp: [0, -distance], ArrowDown: [0, distance] };
      if (event.key in arrows) edit(() => reshape(withCornerMoved, arrows[event.key]));
      else if (event.key === "Delete" || event.key === "Backspace") remove();
      else if (event.key === "Enter" || event.key === " ") edit(() => reshape(withEdgeSplit));
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    knob.addEventListener("dblclick", remove);
    return knob;
  }

  /** A small mark in the middle of an edge, to be dragged out into a corner. */
  function edgeMark(number, index, unit) {
    const [x, y] = middle(areas[number].polygon, index);
    const mark = s("g", { class: "middle", transform: `translate(${x * size.width} ${y * size.height})` },
      s("circle", { class: "touch", r: 18 * unit }), s("circle", { r: 6 * unit }));
    movable(mark, (delta) => { areas[number].polygon = withCornerMoved(areas[number].polygon, index + 1, delta); },
      () => { areas[number].polygon = withEdgeSplit(areas[number].polygon, index); });
    return mark;
  }

  /** Let an element be dragged: `shift([dx, dy])` in fractions of the image since the first touch, after `begun()`. */
  function movable(element, shift, begun = () => {}) {
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      const before = clone(areas);
      begun();
      const start = clone(areas);
      const [x, y] = at(event);
      let any = false;
      draw();
      follow(event, (point) => {
        any = true;
        areas = clone(start); // from where it was: what was held at an edge is under the pointer again when that returns
        shift([point[0] - x, point[1] - y]);
        draw();
      }, () => {
        if (any) timeline.add(before);
        else areas = before; // touched, not moved
        changed();
      });
    });
  }

  /** Begin a rectangle, an ellipse or a stroke, if one of these is chosen. */
  function begin(event) {
    if (tool === "adjust" || event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    if (full()) {
      tell(t("region.full"));
      return;
    }
    const points = [at(event)];
    const [start] = points;
    const shape = (end) => (tool === "ellipse" ? ellipse(start, end) : rectangle(start, end));
    const trace = s("path", { class: `trace ${kind}` });
    if (tool === "brush") {
      trace.classList.add("wide");
      trace.setAttribute("stroke-width", (width.value / 100) * Math.max(size.width, size.height));
    }
    drawing.append(trace);
    const look = () => trace.setAttribute("d", tool === "brush"
      ? `M${[...points, points.at(-1)].map(([x, y]) => `${x * size.width} ${y * size.height}`).join("L")}` : outline(shape(points.at(-1)), size));
    look();
    follow(event, (point) => { points.push(point); look(); }, () => {
      trace.remove();
      const end = points.at(-1);
      const large = end.every((value, axis) => Math.abs(value - start[axis]) >= SMALLEST);
      const polygon = tool === "brush" ? stroke(points, width.value / 100, size) : large ? shape(end) : null;
      if (polygon !== null) edit(() => put(polygon));
    });
  }

  /** Where a pointer goes that has been put down, until it is lifted. */
  function follow({ pointerId }, move, end) {
    const dragging = new AbortController();
    const mine = (act) => (event) => { if (event.pointerId === pointerId) act(event); };
    addEventListener("pointermove", mine((event) => move(at(event))), { signal: dragging.signal });
    for (const name of ["pointerup", "pointercancel"]) {
      addEventListener(name, mine(() => { dragging.abort(); end(); }), { signal: dragging.signal });
    }
  }

  /** Where a pointer is, in fractions of the image, also when the page has been scrolled meanwhile. */
  function at({ clientX, clientY }) {
    const box = stage.getBoundingClientRect();
    return [(clientX - box.left) / box.width, (clientY - box.top) / box.height];
  }
}

/** A region of the API as a list of areas. */
function areasOf(region) {
  return KINDS.flatMap((kind) => copied(region?.[kind] ?? []).map((polygon) => ({ kind, polygon })));
}

/** A list of areas as a region of the API; null for the whole image. */
function regionOf(areas) {
  if (areas.length === 0) return null;
  return Object.fromEntries(KINDS.map((kind) => [kind, areas.filter((area) => area.kind === kind).map(({ polygon }) => polygon)]));
}

function clone(areas) {
  return areas.map(({ kind, polygon }) => ({ kind, polygon: copied([polygon])[0] }));
}
