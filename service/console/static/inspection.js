// One inspection in full: the image, the verdict and its reasons, and what a person may say of it.

import { may, needsRole } from "./access.js";
import { imageUrl } from "./api.js";
import { explain } from "./calibrating.js";
import { comparison, decoded, distance } from "./compare.js";
import { bindDigits, classesOf, defectDetails } from "./defect-details.js";
import { fill, h, once } from "./dom.js";
import { judge, undoLast } from "./feedback.js";
import { bind } from "./keyboard.js";
import { load } from "./loading.js";
import { tell } from "./toasts.js";
import { moment, number, percent, score, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";
import { badge, scoreBar } from "./verdict.js";
import { viewer } from "./viewer.js";

const SIDE = 2048; // pixels: the most that is fetched of an image

/**
 * The panel of an inspection. `file`: the image where the reader has it already; `again` inspects it once more.
 * `tried`: it was to leave no record. `judging`: whether a person may say something of it here.
 * `changed` gets the inspection again when a person has said something of it; nothing is said before `settled()`. Keys
 * work while `signal` is not aborted.
 */
export function inspectionPanel(inspection, { signal, file = null, tried = false, judging = true, again = null, changed = () => {}, settled = () => true }) {
  const { id, regions, references } = inspection;
  const knows = may("operator"); // the references, what is kept of the part, and what is said of it
  const recorded = knows && ![false, null].includes(inspection.recorded);
  const shown = viewer({
    size: inspection, regions, alt: t("inspection.image", { name: inspection.filename }), choose,
    warmed: recorded, inspected: inspection.inspected,
  });
  const buttons = regions.map((region, index) =>
    h("button", { "aria-pressed": "false", onclick: () => choose(index) },
      h("strong", {}, t("region.name", { number: String(index + 1) })),
      h("span", {}, t("region.peak", { peak: score(region.peak) }))));
  const compared = h("div", {});
  const verdict = h("div", { class: "judged" });
  const meaning = h("div", {}, h("p", {}, t(`verdict.${inspection.verdict}.meaning`)));
  const neighbours = references.map(({ reference_id: reference, similarity }) =>
    h("button", { class: "thumb", "aria-pressed": "false", onclick: () => compare(region(), reference) },
      lazyImage(`/references/${reference}/image`, "", { side: 192 }),
      h("span", {}, t("reference.name", { id: String(reference) })),
      h("span", { class: "hint" }, t("reference.similarity", { share: number(similarity, 3) }))));
  let chosen = null;
  let comparing = new AbortController();
  let naming = null; // an AbortController, while digits name the class of the defect
  let saying = Promise.resolve(); // what has been said of the part so far, one thing after the other
  let unanswered = null; // the label said last, as { label }, until that is answered
  let drawn = null; // what of it is shown
  const part = seen();
  part.catch(() => { if (!signal.aborted) shown.missing(t(recorded ? "inspection.gone" : "inspection.format")); });

  bind(["h"], t("viewer.toggle"), shown.toggleHeat, signal);
  if (regions.length > 1) bind(["n"], t("region.next"), () => choose(((chosen ?? -1) + 1) % regions.length), signal);
  if (!judging) {
    fill(verdict);
  } else if (recorded) {
    bind(["d"], t("feedback.defect"), once(() => say("defect")), signal);
    bind(["g"], t("feedback.good"), once(() => say("good")), signal);
    bind(["u"], t("feedback.undo"), once(undoLast), signal);
    classesOf(inspection.category); // so that they are there once the defect is confirmed
    judged(inspection);
  } else if (knows) {
    fill(verdict, h("p", { class: tried ? "hint" : "error" }, t(tried ? "inspection.tried" : "inspection.unrecorded")));
  } else {
    for (const element of [verdict, compared]) fill(element, needsRole("operator"));
  }
  if (inspection.verdict === "uncalibrated") explain(meaning, inspection.category, again, signal);
  if (regions.length) choose(0);
  else if (references.length) compare(null, references[0].reference_id);

  return h("div", { class: "inspection" },
    h("div", { class: "seen" }, shown.element),
    h("div", { class: "told" },
      h("section", { class: `card verdict-card tone-${inspection.verdict}`, "aria-label": t("inspection.verdict") },
        h("p", { class: "large" }, badge(inspection.verdict)),
        meaning,
        scoreBar(inspection),
        toKnow(inspection),
        inspection.p_value === null ? null
          : h("p", {}, t("inspection.p", { p: number(inspection.p_value, 4), share: percent(inspection.p_value) })),
        inspection.alternative_category
          ? h("p", { class: "error" }, t("inspection.better", { category: inspection.alternative_category.category })) : null,
        verdict,
      ),
      regions.length ? h("section", { class: "card" },
        h("h2", {}, t("inspection.regions")), h("div", { class: "choices" }, buttons)) : null,
      h("section", { class: "card" }, h("h2", {}, t("inspection.compared")), compared,
        knows && neighbours.length ? [h("h3", {}, t("inspection.references")), h("div", { class: "thumbs" }, neighbours)] : null),
      facts(inspection),
    ));

  /** The image, decoded; it is shown on the way, and so is the heat. */
  async function seen() {
    if (recorded) imageUrl(`/inspections/${id}/heat.png`, {}, signal).then((url) => show(shown.heat, url), () => shown.heat.remove());
    const image = await local() ?? await decoded(`/inspections/${id}/image`, { side: SIDE }, signal);
    const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    canvas.getContext("2d").drawImage(image, 0, 0);
    canvas.toBlob((blob) => show(shown.image, URL.createObjectURL(blob)));
    return image;
  }

  /** The reader's own file, decoded; null where there is none, or in a format that this browser does not know. */
  async function local() {
    if (file === null) return null;
    const image = new Image();
    image.src = URL.createObjectURL(file);
    return image.decode().then(() => image, () => null).finally(() => URL.revokeObjectURL(image.src));
  }

  function region() {
    return chosen === null ? null : regions[chosen];
  }

  function choose(index) {
    chosen = index;
    shown.select(index);
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === index)));
    compare(regions[index], regions[index].nearest_patch.reference_id);
  }

  async function compare(place, reference) {
    if (!knows) return;
    neighbours.forEach((button, at) =>
      button.setAttribute("aria-pressed", String(references[at].reference_id === reference)));
    comparing.abort();
    comparing = new AbortController();
    await load(compared, AbortSignal.any([signal, comparing.signal]), async (mine) => {
      const image = await part.catch(() => null);
      if (image === null) return h("p", {}, t("inspection.gone"));
      return [
        await comparison(image, inspection, place, reference, mine),
        place?.nearest_patch.reference_id === reference ? h("p", { class: "hint" }, distance(place.nearest_patch)) : null,
      ];
    });
  }

  function say(label) {
    if (!settled()) return tell(t("feedback.moved"));
    naming?.abort();
    naming = label === "defect" ? new AbortController() : null;
    if (naming) bindDigits(inspection.category, (name) => detail({ defect_class: name }), AbortSignal.any([signal, naming.signal]));
    // Pressed again before the answer, it is the same: a second question would follow the one that was just left.
    if (unanswered?.label === label) return saying;
    const mine = { label };
    unanswered = mine;
    return next(() => judge(inspection, label, became).finally(() => { if (unanswered === mine) unanswered = null; }));
  }

  /** Say what a defect is called, or what is remarked about it, once it is confirmed. */
  function detail(details) {
    if ("defect_class" in details) {
      naming?.abort();
      naming = null;
    } else {
      drawn = drawing({ ...inspection, ...details }); // its field shows it already
    }
    return next(async () => { if (inspection.label === "defect") await judge(inspection, "defect", became, details); });
  }

  /** Say something once what was said before is answered. */
  function next(act) {
    saying = saying.catch(() => {}).then(act); // whatever became of that
    return saying;
  }

  function became(now) {
    inspection = { ...inspection, ...now };
    judged(inspection);
    changed(now);
  }

  function drawing({ label, review, reviewed_at: decided, defect_class: name, comment }) {
    return JSON.stringify([label, review, decided, name, comment, naming !== null]);
  }

  function judged(inspected) {
    const { label, review, reviewed_at: decided } = inspected;
    if (drawing(inspected) === drawn) return; // a click on a button that is replaced while it is pressed is lost
    drawn = drawing(inspected);
    const waits = label === "good" && review !== null && decided === null;
    const button = (said, key) => h("button",
      { "aria-pressed": String(label === said), onclick: once(() => say(label === said && !(waits && may("engineer")) ? "none" : said)) },
      t(`feedback.${said}`), h("kbd", { "aria-hidden": "true" }, key));
    fill(verdict, h("div", { class: "actions" }, button("good", "g"), button("defect", "d")),
      label === "defect" ? defectDetails(inspection, detail, { digits: naming !== null }) : null,
      waits ? h("p", { class: "hint" }, t("feedback.waits")) : null);
  }
}

function show(image, url) {
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
}

/** What of an image was not inspected, and other things to know of how it was read. */
function toKnow({ notices }) {
  return notices.length ? h("ul", { class: "to-know" }, notices.map(({ detail }) => h("li", {}, detail))) : null;
}

function facts(inspection) {
  const { timings } = inspection;
  const ms = (value) => t("inspection.ms", { ms: number(value, 1) });
  const rows = [
    ["category", inspection.category], ["filename", inspection.filename], ["part_id", inspection.part_id],
    ["station", inspection.station], ["at", moment(inspection.at)],
    ["size", `${inspection.width} × ${inspection.height}`],
    ["inspected", inspection.inspected ? percent(inspection.inspected.fraction) : null], ["version", String(inspection.version)],
    ["queue_ms", ms(timings.queue_ms)], ["encode_ms", ms(timings.encode_ms)], ["search_ms", ms(timings.search_ms)],
    ["total_ms", ms(timings.total_ms)],
  ];
  return h("section", { class: "card" }, h("h2", {}, t("inspection.facts")),
    h("dl", { class: "facts" }, rows.filter(([, value]) => value !== null && value !== undefined)
      .map(([name, value]) => [h("dt", {}, t(`fact.${name}`)), h("dd", {}, value)]).flat()));
}
