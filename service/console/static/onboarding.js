// Teaching a product: images in, what screening found about each, and how many good parts may be rejected.

import { ANYWHERE, alignmentNotice } from "./alignment.js";
import { get, request, send } from "./api.js";
import { cameraButton } from "./camera.js";
import { fill, h, once } from "./dom.js";
import { dropArea } from "./file-drop.js";
import { defectFields } from "./geometry.js";
import { loading } from "./loading.js";
import { tell, tellProblem } from "./toasts.js";
import { showRejects } from "./false-reject-rate.js";
import { guard } from "./unsaved.js";
import { FINDINGS } from "./settings.js";
import { tryParts } from "./trying.js";
import { ONE_AT_FAULT, REFUSALS, batchLength, readable } from "./upload-batches.js";
import { bytes, percent, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";

const SIDE = 240;
const HELD_FOR = FINDINGS.join(); // what screening finds keeps an image from being a reference until it is decided

/** Fill `place` with the wizard. `known`: a category to add to; "" for a new one. */
export function showOnboarding(place, known, signal) {
  const name = h("input", { id: "name", required: true, maxlength: 128, pattern: "[^\\/\\\\]+", value: known, readonly: known !== "", autocomplete: "off", "aria-describedby": "name-error" });
  const wrong = h("p", { class: "error", id: "name-error", role: "alert" });
  const files = h("ol", { class: "files", tabindex: 0, "aria-label": t("onboard.files") });
  const summary = h("p", { role: "status" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("onboard.progress") });
  const advice = h("p", { class: "hint" });
  const tiles = h("ul", { class: "images wide" });
  const bulk = h("div", { class: "actions" });
  const screened = h("section", { class: "view", hidden: true }, h("h2", {}, t("onboard.second")), advice, bulk, tiles);
  const rating = h("section", { class: "view", hidden: true });
  const advised = h("div", { role: "status" }); // about where parts lie
  const trying = h("section", { class: "view", hidden: true });
  const finish = h("div", { class: "actions" });
  const waiting = [];
  const rows = [];
  const retry = h("button", { hidden: true, onclick: () => again(rows.filter(({ status }) => status === "failed")) }, t("onboard.retry"));
  let sending = false;
  let showing = new AbortController(); // of the rates
  signal.addEventListener("abort", () => showing.abort());
  let limits = null;
  let outliersNeed = Infinity; // until something was screened
  let images = null; // { width, height } of the first image, once it is known
  let rateWanted = null; // the rate that a new category came with
  let ratePicked = null; // the one that was picked in its place, while references are too few
  let agreed = known !== ""; // on how fine the product is inspected, and what that costs
  const defect = defectFields({ about: () => images, signal });
  let told = known; // of which existing product the reader has been told
  const start = h("button", { class: "primary", hidden: true, onclick: begin }, t("onboard.start"));
  fill(place,
    h("h1", {}, h("a", { href: "#/categories", class: "up" }, t("nav.categories")), " / ", t(known ? "onboard.more" : "onboard.title", { name: known })),
    h("section", { class: "card" },
      h("h2", {}, t("onboard.first")),
      h("div", { class: "field" }, h("label", { for: "name" }, t("onboard.name")), name, wrong),
      known ? null : defect.element,
      dropArea({ text: t("onboard.drop"), multiple: true, signal, take, more: [cameraButton((file) => take([file]))].filter(Boolean) }),
      h("p", { class: "hint" }, t("onboard.advice")), bar, summary, h("div", { class: "actions" }, start, retry), h("details", { class: "filelist", hidden: true }, h("summary", {}, t("onboard.files")), files)),
    screened, rating, trying, finish);
  guard(() => (sending || waiting.length ? "unsent" : null), signal);
  if (!known) name.focus();

  async function take(chosen) {
    if (!named()) return;
    const exists = await another();
    name.readOnly = !exists;
    for (const file of chosen) {
      const state = h("span", { class: "state-word" });
      const row = { file, state, status: "waiting", result: null, refuse: undefined, tile: null };
      files.append(h("li", {}, h("span", { class: "name" }, file.name), state));
      rows.push(row);
      mark(row, "waiting");
      waiting.push(row);
    }
    Object.assign(files.closest("details"), { hidden: false, open: true });
    if (!agreed && (exists || defect.choice() !== null)) {
      images ??= await sizeOf(chosen[0]);
      start.hidden = false;
      await defect.ask();
    } else {
      await deliver();
    }
  }

  /** Whether there is a name; tells what is wrong with it. */
  function named() {
    name.setCustomValidity(["", ".", ".."].includes(name.value.trim()) ? "wrong" : "");
    const valid = name.checkValidity();
    fill(wrong, valid ? null : t("onboard.name.wrong"));
    if (!valid) name.focus();
    return valid;
  }

  /** Whether the name is that of a product that is not this page's, which the reader is told of once. */
  async function another() {
    const wanted = name.value.trim();
    if (wanted === told || rows.some(({ status }) => status !== "waiting")) return false;
    const { categories } = await get("/categories", {}, signal).catch(() => ({ categories: [] })); // sending tells what is wrong
    if (!categories.some((category) => category.name === wanted)) return false;
    told = wanted;
    fill(wrong, t("onboard.name.known", { name: wanted }));
    return true;
  }

  /** What was taken in is to be sent. */
  async function begin() {
    if (!named() || (await another())) return;
    [agreed, start.hidden, name.readOnly] = [true, true, true];
    await deliver();
  }

  /** Send what waits, a request at a time, for as long as any does. */
  async function deliver() {
    if (sending) return;
    sending = true;
    rating.hidden = true;
    try {
      limits ??= (await get("/version", {}, signal)).limits;
      while (waiting.length && !signal.aborted) await sent(await batch());
    } catch (error) {
      if (signal.aborted) return;
      waiting.splice(0).forEach((row) => decided(row, { status: "failed", detail: error.message || error.title }));
      tellProblem(error);
    } finally {
      sending = false;
    }
    if (signal.aborted) return;
    const failed = rows.filter(({ status }) => status === "failed").length;
    retry.hidden = failed === 0;
    if (failed) tell(t("onboard.failed", { count: failed }));
    files.closest("details").open = false; // what there is to look at comes next
    name.readOnly = known !== "" || rows.some(({ status }) => status === "added" || status === "duplicate");
    await rate();
  }

  /** The next images of one request; what cannot be sent at all is decided on the way. */
  async function batch() {
    const batched = [];
    for (const row of waiting.splice(0, batchLength(waiting, limits))) {
      if (row.file.size > limits.max_image_bytes) {
        decided(row, { status: "rejected", detail: t("onboard.large", { most: bytes(limits.max_image_bytes) }) });
      } else if (!(await readable(row.file))) {
        decided(row, { status: "rejected", detail: t("onboard.unreadable") });
      } else {
        batched.push(row);
      }
    }
    return batched;
  }

  async function sent(taken) {
    if (taken.length === 0) return;
    for (const row of taken) mark(row, "sending");
    const form = new FormData();
    form.append("category", name.value.trim());
    form.append("refuse", taken[0].refuse ?? HELD_FOR);
    if (!known) for (const [key, value] of Object.entries(defect.choice() ?? {})) form.append(key, value);
    for (const { file } of taken) form.append("images", file, file.name);
    try {
      // What was sent before the service went away is known already when it is sent again.
      const { results, images_until_outlier_check } = await request("POST", "/references", { form, patient: true, signal });
      if (images_until_outlier_check !== null) outliersNeed = Math.min(outliersNeed, images_until_outlier_check);
      for (const { findings } of results) for (const finding of findings) finding.other = taken[finding.image_index]?.file;
      results.forEach((result, place_) => decided(taken[place_], result));
    } catch (error) {
      if (signal.aborted) return;
      if (taken.length > 1 && ONE_AT_FAULT.has(error.kind)) {
        const half = Math.ceil(taken.length / 2);
        await sent(taken.slice(0, half));
        await sent(taken.slice(half));
        return;
      }
      const status = REFUSALS.has(error.kind) ? "rejected" : "failed";
      for (const row of taken) decided(row, { status, detail: error.message || error.title });
      if (!ONE_AT_FAULT.has(error.kind)) throw error; // it would be the same with all that wait
    }
  }

  function decided(row, result) {
    row.result = { findings: [], ...result };
    mark(row, row.result.findings.some(({ kind }) => kind === result.reason) ? "held" : result.status);
    showScreened();
  }

  function mark(row, status) {
    row.status = status;
    row.state.className = `state-word is-${status}`;
    fill(row.state, t(`onboard.status.${status}`));
    const done = rows.filter((each) => !["waiting", "sending"].includes(each.status)).length;
    retry.hidden = sending || !rows.some((each) => each.status === "failed");
    bar.hidden = done === rows.length;
    bar.value = done / rows.length;
    const count = (wanted) => rows.filter((each) => each.status === wanted).length;
    fill(summary, t("onboard.summary", { done, total: rows.length, added: count("added"), duplicates: count("duplicate"), held: count("held"), rejected: count("rejected") + count("failed") }));
  }

  /** What a person should look at: images that are held back for what was found in them, and those not taken. */
  function showScreened() {
    const noted = rows.filter(({ status }) => ["held", "rejected", "failed"].includes(status));
    screened.hidden = false;
    fill(advice, t(noted.length === 0 ? "onboard.clean" : "onboard.decide"),
      outliersNeed > 0 && outliersNeed < Infinity ? ` ${t("onboard.outliers", { count: outliersNeed })}` : null);
    for (const row of noted) {
      if (row.tile) continue;
      row.tile = noticed(row);
      tiles.append(row.tile);
    }
    showBulk();
  }

  /** What can be decided of all that is held back at once. */
  function showBulk() {
    const held = rows.filter(({ status }) => status === "held");
    fill(bulk, held.length < 2 ? null : [
      h("button", { onclick: once(() => held.forEach(leaveOut)) }, t("onboard.leave.all", { held: held.length })),
      h("button", { onclick: once(() => again(held, "none")) }, t("onboard.add.all", { held: held.length })),
    ]);
  }

  function leaveOut(row) {
    row.tile.remove();
    mark(row, "left");
    showBulk();
  }

  function noticed(row) {
    const { result } = row;
    const said = result.findings.length ? result.findings.map(finding)
      : h("p", { class: "finding" }, result.detail);
    return h("li", { class: `image is-${row.status}` }, local(row.file),
      h("span", { class: "name" }, row.file.name), h("span", { class: "state-word" }, t(`onboard.status.${row.status}`)), said,
      row.status === "failed" ? h("div", { class: "actions" }, h("button", { onclick: once(() => again([row])) }, t("problem.now")))
        : row.status === "held" ? h("div", { class: "actions" },
          h("button", { onclick: once(() => leaveOut(row)) }, t("onboard.leave")),
          h("button", { onclick: once(() => again([row], "none")) }, t("onboard.add"))) : null);
  }

  /** Send images once more; `refuse`: "none" where a person wants them whatever was found. */
  function again(some, refuse = undefined) {
    for (const row of some) {
      row.tile?.remove();
      Object.assign(row, { result: null, tile: null, refuse });
      mark(row, "waiting");
      waiting.push(row);
    }
    showBulk();
    return deliver();
  }

  async function rate() {
    const wanted = name.value.trim();
    showing.abort();
    showing = new AbortController();
    try {
      const { categories } = await get("/categories", {}, showing.signal);
      const category = categories.find((each) => each.name === wanted);
      if (!category) return;
      rating.hidden = false;
      const body = h("div", { class: "view" }, loading());
      fill(rating, h("h2", {}, t("onboard.third")), body, advised);
      fill(finish, h("a", { class: "button primary", href: `#/categories/${encodeURIComponent(category.name)}` }, t("onboard.done")));
      await showRejects(body, category, showing.signal, prepare);
      if (!showing.signal.aborted && !known) advise(category, showing.signal); // beside the rest: a busy line's parts come first
      if (!showing.signal.aborted && trying.hidden && body.querySelector(".rating")) {
        trying.hidden = false;
        fill(trying, h("h2", {}, t("onboard.fourth")), h("p", { class: "hint" }, t("try.meaning")), tryParts(category.name, signal));
      }
    } catch (error) {
      if (!showing.signal.aborted) tellProblem(error);
    }
  }

  /** That the parts lie anywhere, where they do. */
  async function advise({ name: category }, mine) {
    const path = `/categories/${encodeURIComponent(category)}`;
    try {
      fill(advised, await alignmentNotice(path, apply, mine));
    } catch (error) {
      if (!mine.aborted) tellProblem(error);
    }

    async function apply() {
      try {
        await send("PATCH", path, { rho: ANYWHERE });
      } catch (error) {
        tellProblem(error);
        return false;
      }
      tell(t("settings.saved"));
      rate();
      return true;
    }
  }

  /** A new category whose references are too few for its rate gets the smallest one that they support. */
  async function prepare(path, category) {
    const { settings: { false_reject_rate: rate, threshold }, calibration } = category;
    if (known || threshold !== null || calibration.smallest_rate === null || (calibration.rate_supported && rate !== ratePicked)) return category;
    rateWanted ??= rate;
    const best = Math.max(rateWanted, calibration.smallest_rate);
    if (best === rate) return category;
    ratePicked = best;
    const changed = await send("PATCH", path, { false_reject_rate: best });
    tell(t("onboard.picked", { rate: percent(best), references: calibration.references }));
    return changed;
  }
}

/** What screening found, with the image that it was found by. */
function finding({ kind, detail, reference_id: reference, other }) {
  return h("div", { class: "finding" },
    other ? local(other) : reference === null ? null
      : lazyImage(`/references/${reference}/image`, t("reference.name", { id: String(reference) }), { side: SIDE }),
    h("p", {}, h("strong", {}, t(`finding.${kind}`)), " ", detail));
}

/** { width, height } of a image; null of what no browser can show. */
function sizeOf(file) {
  return createImageBitmap(file).then(({ width, height }) => ({ width, height }), () => null);
}

/** An image that only this page has; what no browser can show is left blank. */
function local(file) {
  const url = URL.createObjectURL(file);
  const image = h("img", { alt: file.name, src: url, onload: () => URL.revokeObjectURL(url), onerror: () => image.classList.add("missing") });
  return image;
}
