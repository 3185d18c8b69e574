// The false-reject rate, chosen by looking at what it would have rejected.

import { get, send } from "./api.js";
import { fill, h, once } from "./dom.js";
import { histogram } from "./histogram.js";
import { load } from "./loading.js";
import { tell, tellProblem } from "./toasts.js";
import { takeBack } from "./references.js";
import { guard } from "./unsaved.js";
import { percent, score, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";

const MOST = 24;
const SIDE = 240;
const EVERY_MS = 500;
const USUAL = [0.05, 0.02, 0.01]; // rates that more images are worth taking for

/**
 * Fill `place` with the category's scores, once it is calibrated, and a rate to be chosen among them. `prepare(path,
 * category)`, where there is one, may change the category before that, and returns it as it is then.
 */
export async function showRejects(place, category, signal, prepare = null) {
  let showing = new AbortController();
  signal.addEventListener("abort", () => showing.abort());
  await again();

  /** Also when a reference has come or gone: of several times, the latest counts. */
  function again() {
    showing.abort();
    showing = new AbortController();
    return load(place, showing.signal, (mine) => show(place, category, again, mine, prepare));
  }
}

async function show(place, category, again, signal, prepare) {
  const path = `/categories/${encodeURIComponent(category.name)}`;
  let now = await calibrated(place, path, signal);
  if (prepare) now = await prepare(path, now);
  const { scores, references, rates, rate_index: index } = await get(`${path}/scores`, {}, signal);
  if (scores.length < 2) {
    fill(place, h("p", { class: "empty" }, t("rejects.few")));
    return;
  }
  let wanted = rates[index];
  let kept = wanted; // the one that the line stands at unless it is moved
  const note = h("p", { class: "hint" });
  const missing = USUAL.filter((rate) => needed(rate) > scores.length)
    .map((rate) => t("rejects.buys.item", { needed: needed(rate), rate: percent(rate) }));
  const save = h("button", { class: "primary", onclick: keep }, t("rejects.save"));
  const rejected = h("ul", { class: "images" });
  const tiles = new Map();
  fill(place,
    h("section", { class: "card" }, h("h2", {}, t("rejects.title")), h("p", { class: "hint" }, t("rejects.meaning")),
      histogram(scores, rates, index, chosen), note,
      missing.length ? h("p", { class: "hint" }, t("rejects.buys", { scores: scores.length, rate: percent(rates[0]), list: missing.join(", ") })) : null, h("div", { class: "actions" }, save)),
    h("h2", {}, t("rejects.rejected")), rejected);
  guard(() => (wanted === kept ? null : "unsaved"), signal);

  function chosen(rate, threshold, beyond) {
    wanted = rate;
    fill(note, now.settings.threshold !== null ? t("rejects.manual")
      : !now.calibration.rate_supported
        ? t("rejects.unreached", { rate: percent(now.settings.false_reject_rate), scores: scores.length, needed: now.calibration.references_needed }) : "");
    const shown = scores.map((value, place_) => [value, references[place_]]).slice(scores.length - beyond).reverse().slice(0, MOST);
    fill(rejected, shown.length === 0 ? h("li", { class: "hint" }, t("rejects.nobody")) : shown.map(([value, id]) => {
      if (!tiles.has(id)) tiles.set(id, tile(value, id));
      return tiles.get(id);
    }));
  }

  function tile(value, id) {
    const item = h("li", { class: "image" },
      lazyImage(`/references/${id}/image`, t("reference.name", { id: String(id) }), { side: SIDE }),
      h("span", { class: "name" }, t("rejects.score", { score: score(value) })),
      h("button", { onclick: once(() => takeBack({ id }, item, again)) }, t("rejects.remove")));
    return item;
  }

  async function keep() {
    const rate = wanted; // the line may be moved meanwhile
    try {
      now = await send("PATCH", path, { false_reject_rate: rate });
      kept = rate;
      tell(t("rejects.saved", { rate: percent(rate) }));
      fill(note, "");
    } catch (error) {
      tellProblem(error);
    }
  }
}

/** How many references a false-reject rate takes. */
export function needed(rate) {
  return Math.ceil(1 / rate - 1e-9) - 1;
}

/** The category once its references have scored each other; until then the place shows how far that is. */
async function calibrated(place, path, signal) {
  let now = await get(path, {}, signal); // what was read before may be older than its latest references
  if (now.calibration.state !== "pending") return now;
  const bar = h("progress", { max: 1, "aria-label": t("rejects.calibrating") });
  fill(place, h("p", { role: "status" }, t("rejects.calibrating")), bar);
  while (now.calibration.state === "pending") {
    bar.value = now.calibration.progress;
    await pause(signal);
    now = await get(path, {}, signal);
  }
  return now;
}

function pause(signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, EVERY_MS);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
