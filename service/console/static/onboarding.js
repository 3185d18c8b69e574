// Teaching a product: pictures in, what screening found about each, and how many good parts may be rejected.

import { get, picture, request } from "./api.js";
import { fill, h } from "./dom.js";
import { dropArea } from "./drop.js";
import { tellProblem } from "./notices.js";
import { takeBack } from "./references.js";
import { showRejects } from "./rejects.js";
import { bytes, t } from "./strings.js";

const BATCH = { pictures: 8, bytes: 48e6 }; // of one request: small, so that progress shows and a slow line keeps up
const SIDE = 240;

/** Fill `place` with the wizard. `known`: a category to add to; "" for a new one. */
export function showOnboarding(place, known, signal) {
  const name = h("input", { id: "name", required: true, maxlength: 128, pattern: "[^\\/\\\\]+", value: known, readonly: known !== "", autocomplete: "off", "aria-describedby": "name-error" });
  const wrong = h("p", { class: "error", id: "name-error", role: "alert" });
  const files = h("ol", { class: "files", tabindex: 0, "aria-label": t("onboard.files") });
  const summary = h("p", { role: "status" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("onboard.progress") });
  const advice = h("p", { class: "hint" });
  const tiles = h("ul", { class: "pictures wide" });
  const screened = h("section", { class: "view", hidden: true }, h("h2", {}, t("onboard.second")), advice, tiles);
  const rating = h("section", { class: "view", hidden: true });
  const waiting = [];
  const rows = [];
  let sending = false;
  let limits = null;
  let outliersNeed = Infinity; // until something was screened
  fill(place,
    h("h1", {}, h("a", { href: "#/categories", class: "up" }, t("nav.categories")), " / ", t(known ? "onboard.more" : "onboard.title", { name: known })),
    h("section", { class: "card" },
      h("h2", {}, t("onboard.first")),
      h("div", { class: "field" }, h("label", { for: "name" }, t("onboard.name")), name, wrong),
      dropArea({ text: t("onboard.drop"), multiple: true, signal, take }),
      h("p", { class: "hint" }, t("onboard.advice")), bar, summary, h("details", { class: "filelist", hidden: true }, h("summary", {}, t("onboard.files")), files)),
    screened, rating);
  if (!known) name.focus();

  async function take(chosen) {
    name.setCustomValidity(name.value.trim() === "" ? "empty" : "");
    if (!name.checkValidity()) {
      fill(wrong, t("onboard.name.wrong"));
      name.focus();
      return;
    }
    fill(wrong);
    name.readOnly = true;
    try {
      limits ??= (await get("/version", {}, signal)).limits;
    } catch (error) {
      if (error.name !== "AbortError") tellProblem(error);
      return;
    }
    for (const file of chosen) {
      const state = h("span", { class: "state-word" });
      const row = { file, state, status: "waiting", result: null, shown: false };
      files.append(h("li", {}, h("span", { class: "name" }, file.name), state));
      rows.push(row);
      if (file.size > limits.max_image_bytes) {
        row.result = { status: "refused", detail: t("onboard.large", { most: bytes(limits.max_image_bytes) }), findings: [] };
        mark(row, "refused");
        showScreened();
      } else {
        waiting.push(row);
        mark(row, "waiting");
      }
    }
    Object.assign(files.closest("details"), { hidden: false, open: true });
    if (sending) return;
    sending = true;
    rating.hidden = true;
    while (waiting.length && !signal.aborted) await deliver(batch());
    sending = false;
    files.closest("details").open = false; // what there is to look at comes next
    if (!signal.aborted) await finished();
  }

  function batch() {
    const taken = [waiting.shift()];
    let size = taken[0].file.size;
    while (waiting.length && taken.length < BATCH.pictures && size + waiting[0].file.size <= BATCH.bytes) {
      size += waiting[0].file.size;
      taken.push(waiting.shift());
    }
    return taken;
  }

  async function deliver(taken, refuse = undefined) {
    for (const row of taken) mark(row, "sending");
    const form = new FormData();
    form.append("category", name.value.trim());
    if (refuse !== undefined) form.append("refuse", refuse);
    for (const { file } of taken) form.append("images", file, file.name);
    try {
      const { results, outliers_need } = await (await request("POST", "/references", { form, signal })).json();
      if (outliers_need !== null) outliersNeed = Math.min(outliersNeed, outliers_need);
      results.forEach((result, place_) => { taken[place_].result = result; mark(taken[place_], result.status); });
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.kind === "request-too-large" && taken.length > 1) {
        const half = Math.ceil(taken.length / 2);
        await deliver(taken.slice(0, half), refuse);
        await deliver(taken.slice(half), refuse);
        return;
      }
      for (const row of taken) {
        row.result = { status: "failed", detail: error.message, findings: [] };
        mark(row, "failed");
      }
      if (taken.length > 1 || error.kind === "unreachable") tellProblem(error);
    }
    showScreened();
  }

  function mark(row, status) {
    row.status = status;
    row.state.className = `state-word is-${status}`;
    fill(row.state, t(`onboard.status.${status}`));
    const done = rows.filter((each) => !["waiting", "sending"].includes(each.status)).length;
    bar.hidden = done === rows.length;
    bar.value = done / rows.length;
    const count = (wanted) => rows.filter((each) => each.status === wanted).length;
    fill(summary, t("onboard.summary", { done, total: rows.length, added: count("added"), duplicates: count("duplicate"), refused: count("refused") + count("failed") }));
  }

  /** What a person should look at: pictures with findings, and those not taken. What was decided stays away. */
  function showScreened() {
    const noted = rows.filter(({ result }) => result && (result.findings.length || ["refused", "failed"].includes(result.status)));
    screened.hidden = false;
    fill(advice, t(noted.length === 0 ? "onboard.clean" : "onboard.decide"),
      outliersNeed > 0 && outliersNeed < Infinity ? ` ${t("onboard.outliers", { count: outliersNeed })}` : null);
    for (const row of noted) {
      if (row.shown) continue;
      row.shown = true;
      tiles.append(noticed(row));
    }
  }

  function noticed(row) {
    const { result } = row;
    const said = result.findings.length ? result.findings.map(({ kind, detail }) => h("p", { class: "finding" }, h("strong", {}, t(`finding.${kind}`)), " ", detail))
      : h("p", { class: "finding" }, result.detail);
    const taken = result.reference_id !== null && result.reference_id !== undefined;
    const reference = { id: result.reference_id };
    const item = h("li", { class: `picture is-${result.status}` },
      taken ? picture(`/references/${result.reference_id}/image`, row.file.name, { side: SIDE }) : local(row.file),
      h("span", { class: "name" }, row.file.name), h("span", { class: "state-word" }, t(`onboard.status.${row.status}`)), said,
      taken ? h("div", { class: "actions" },
        h("button", { onclick: () => item.remove() }, t("onboard.keep")),
        h("button", { onclick: () => takeBack(reference, item, refreshRating) }, t("onboard.drop.it")))
        : result.findings.length || row.status === "failed" ? h("div", { class: "actions" }, h("button", { onclick: () => again(row, item) }, t(row.status === "failed" ? "onboard.again" : "onboard.anyway"))) : null);
    return item;
  }

  async function again(row, item) {
    item.remove();
    Object.assign(row, { result: null, shown: false });
    await deliver([row], "none");
    await finished();
  }

  async function finished() {
    try {
      const { categories } = await get("/categories", {}, signal);
      const category = categories.find((each) => each.name === name.value.trim());
      if (!category) return;
      rating.hidden = false;
      const body = h("div", { class: "view" });
      fill(rating, h("h2", {}, t("onboard.third")), body,
        h("div", { class: "actions" }, h("a", { class: "button primary", href: `#/categories/${encodeURIComponent(category.name)}` }, t("onboard.done"))));
      await showRejects(body, category, signal);
    } catch (error) {
      if (error.name !== "AbortError" && !signal.aborted) tellProblem(error);
    }
  }

  function refreshRating() {
    if (!sending) finished();
  }
}

/** A picture that only this page has; what no browser can show is left blank. */
function local(file) {
  const url = URL.createObjectURL(file);
  const image = h("img", { alt: file.name, src: url, onload: () => URL.revokeObjectURL(url), onerror: () => image.classList.add("missing") });
  return image;
}
