// A category's labelled test set: images of good and defective parts, what escapes, and what is rejected though it is good.

import { get, request, send } from "./api.js";
import { BINS, binned } from "./binning.js";
import { chart, ticks } from "./chart.js";
import { fill, h, once, s } from "./dom.js";
import { download } from "./download.js";
import { outcome, precision, recall } from "./evaluation-outcome.js";
import { dropArea } from "./file-drop.js";
import { inspectionPanel } from "./inspection.js";
import { load, repeat } from "./loading.js";
import { rollBack } from "./rollback.js";
import { tell, tellProblem } from "./toasts.js";
import { tuningCard } from "./tuning.js";
import { guard } from "./unsaved.js";
import { ONE_AT_FAULT, batchLength, readable } from "./upload-batches.js";
import { moment, number, percent, score, t } from "./i18n.js";
import { lazyImage } from "./lazy-image.js";
import { badge } from "./verdict.js";

const EVERY_MS = 3000;
const SIDE = 240;
const [WIDTH, HEIGHT] = [720, 180]; // of the histogram, in its own units

/** Fill `place` with the test set, its latest evaluation and what became of it since the one before. */
export async function showTestSet(place, { name }, signal) {
  const path = `/categories/${encodeURIComponent(name)}`;
  const counts = h("p", { role: "status" });
  const refused = h("div", { role: "alert" });
  const sending = h("progress", { max: 1, value: 0, hidden: true, "aria-label": t("testset.sending") });
  const body = h("div", { class: "view" });
  const { card, show } = tuningCard({ name }, renew);
  let shown = "";
  let adding = Promise.resolve(); // one after the other: good parts may be chosen while defective ones are sent
  let waiting = 0; // of these
  fill(place,
    h("section", { class: "card" }, h("h2", {}, t("testset.title")), h("p", { class: "hint" }, t("testset.meaning")),
      h("div", { class: "cards" }, [false, true].map((defective) => dropArea({
        text: t(`testset.drop.${defective ? "defective" : "good"}`), choose: t(`testset.choose.${defective ? "defective" : "good"}`),
        multiple: true, signal, id: `test-${defective ? "defective" : "good"}`, main: false, take: (files) => take(files, defective),
      }))), sending, refused, counts, h("div", { class: "actions" },
        h("button", { onclick: () => download(`${path}/test-set.zip`, {}, `${name}.zip`, signal) }, t("history.dataset")))),
    body, card);
  guard(() => (sending.hidden ? null : "unsent"), signal);
  await refresh();
  repeat(EVERY_MS, renew, signal);

  function take(files, defective) {
    if (waiting === 0) fill(refused);
    waiting += 1;
    sending.hidden = false;
    adding = adding.then(async () => {
      await add(files, defective);
      waiting -= 1;
      sending.hidden = waiting === 0;
    });
  }

  async function add(files, defective) {
    const outcomes = [];
    sending.value = 0;
    try {
      const { limits } = await get("/version", {}, signal);
      for (let start = 0; start < files.length;) {
        const length = batchLength(files.slice(start).map((file) => ({ file })), limits);
        outcomes.push(...await sent(files.slice(start, start + length), defective));
        start += length;
        sending.value = start / files.length;
      }
    } catch (error) {
      tellProblem(error);
    }
    if (signal.aborted) return;
    const [added, known] = ["added", "duplicate"].map((kind) => outcomes.filter(({ status }) => status === kind).length);
    const unsent = files.length - outcomes.length;
    tell([t("testset.added", { count: added }), known ? t("testset.known", { count: known }) : null,
      unsent ? t("onboard.failed", { count: unsent }) : null].filter(Boolean).join(" "));
    const rejected = outcomes.filter(({ status }) => status === "rejected");
    if (rejected.length) {
      refused.append(h("p", {}, t("testset.refused", { count: rejected.length })), h("ol", { class: "files", tabindex: 0, "aria-label": t("testset.refused", { count: rejected.length }) },
        rejected.map(({ filename, detail }) => h("li", {}, h("span", { class: "name" }, filename), h("span", { class: "error" }, detail)))));
    }
    await renew();
  }

  /** What became of each file of one request; of a file that is the reason why the request failed, that. */
  async function sent(files, defective) {
    if (files.length === 1 && !(await readable(files[0]))) return [{ status: "rejected", filename: files[0].name, detail: t("onboard.unreadable") }];
    const form = new FormData();
    form.append("defective", String(defective));
    for (const file of files) form.append("images", file, file.name);
    try {
      return (await request("POST", `${path}/test-images`, { form, patient: true, signal })).results;
    } catch (error) {
      if (signal.aborted || !ONE_AT_FAULT.has(error.kind)) throw error;
      if (files.length === 1) return [{ status: "rejected", filename: files[0].name, detail: error.message || error.title }];
      const half = Math.ceil(files.length / 2);
      return [...await sent(files.slice(0, half), defective), ...await sent(files.slice(half), defective)];
    }
  }

  /** Refresh, unless that fails: the page has told of it, or the next round asks again. */
  function renew() {
    return refresh().catch(() => {});
  }

  async function refresh() {
    const [{ images }, { evaluations }, tuning] = await Promise.all(
      ["test-images", "evaluations", "tuning"].map((part) => get(`${path}/${part}`, {}, signal)));
    const bad = images.filter(({ defective }) => defective).length;
    show(tuning, { good: images.length - bad, defective: bad });
    const seen = JSON.stringify([images, evaluations]);
    if (seen === shown) return;
    shown = seen;
    fill(counts, t("testset.counts", { good: images.length - bad, defective: bad }));
    const latest = evaluations[0];
    if (!latest) fill(body, images.length ? h("p", { class: "empty" }, t("testset.waiting")) : null);
    else if (latest.finished_at === null) {
      fill(body, h("p", { role: "status" }, t("testset.running", { done: latest.done, images: latest.images })),
        h("progress", { max: latest.images, value: latest.done, "aria-label": t("testset.running", { done: latest.done, images: latest.images }) }));
    } else {
      const detail = await get(`${path}/evaluations/${latest.id}`, {}, signal);
      fill(body, report(detail, evaluations.find(({ id, finished_at: at }) => id !== latest.id && at !== null)), history(evaluations));
    }
  }

  /** An evaluation in full. before: the one that it is compared with, if there is. */
  function report({ evaluation: { summary, change }, results, roc }, before) {
    const wrong = h("div", { class: "view" });
    const matrix = h("div", { class: "figures four" });
    const told = h("p", { class: "hint" });
    const scored = results.filter(({ score: value }) => value !== null);
    const threshold = scored.find((each) => each.threshold !== null)?.threshold ?? null;
    return [
      h("section", { class: "card", "aria-label": t("testset.result") }, h("h2", {}, t("testset.result")),
        matrix, change === null ? null : h("p", {}, t("testset.change", {
          escapes: signed(change.newly_missed.length - change.no_longer_missed.length), rejects: signed(change.newly_rejected.length - change.no_longer_rejected.length),
        }), " ", before ? rollBackButton(before, t("rollback.open")) : null),
        summary.auroc === null ? null : h("p", { class: "hint" }, t("testset.auroc", { auroc: number(summary.auroc, 3) })),
        summary.masked ? h("p", { class: "hint" }, t("testset.masks", { hits: summary.hits, masked: summary.masked })) : null,
        summary.undecided ? h("p", { class: "error" }, t("testset.undecided", { images: summary.undecided })) : null,
        scored.length > 1 ? distribution(scored, threshold, judge) : null, told,
        roc.length ? h("details", {}, h("summary", {}, t("testset.roc")), curve(roc)) : null),
      wrong,
    ];

    /** Show what a threshold makes of the scores; the verdicts that were given where it is the category's own. */
    function judge(value, isOwn) {
      const decided = outcome(results, isOwn ? null : value);
      const { missed, rejected, good, defective } = decided;
      const share = (value_) => (value_ === null ? "–" : percent(value_));
      const figure = (key, text) => h("div", {}, h("strong", {}, text), h("span", { class: "hint" }, t(`testset.${key}`)));
      fill(matrix,
        figure("recall", share(recall(decided))), figure("precision", share(precision(decided))),
        figure("escapes", `${number(missed.length)} / ${number(defective)}`), figure("rejects", `${number(rejected.length)} / ${number(good)}`));
      fill(told, isOwn ? t("testset.own", { threshold: score(value) }) : t("testset.tried", { threshold: score(value) }));
      fill(wrong, gallery("escapes", missed), gallery("rejects", rejected), gallery("failed", results.filter(({ error }) => error !== null)));
    }
  }

  function gallery(kind, found) {
    if (found.length === 0) return null;
    return h("section", { class: "view", "aria-label": t(`testset.${kind}`) }, h("h2", {}, t(`testset.${kind}`)), h("ul", { class: "images" }, found.map((each) => {
      const { image, verdict, error, score: value } = each;
      return h("li", { class: "image" },
        h("button", { class: "plain", "aria-label": t("testset.explain", { name: image.filename }), onclick: () => explain(image) },
          lazyImage(`${path}/test-images/${image.id}/image`, "", { side: SIDE })),
        h("span", { class: "name" }, image.filename), verdict ? badge(verdict) : null,
        h("span", { class: error ? "finding" : "hint" }, error ?? t("rejects.score", { score: score(value) })),
        h("button", { onclick: once(() => remove(image)) }, t("testset.remove")));
    })));
  }

  async function remove({ id }) {
    try {
      await send("DELETE", `${path}/test-images/${id}`);
      await refresh();
    } catch (error) {
      tellProblem(error);
    }
  }

  /** Inspect an image as a part would be now, without a record, and show why it was judged so. */
  async function explain(image) {
    const open = new AbortController();
    const holder = h("div", { class: "holder" });
    const dialog = h("dialog", { class: "dialog full", "aria-label": image.filename }, holder,
      h("form", { method: "dialog", class: "actions" }, h("button", { class: "primary" }, t("shell.close"))));
    dialog.addEventListener("close", () => { open.abort(); dialog.remove(); });
    signal.addEventListener("abort", () => dialog.close());
    document.body.append(dialog);
    dialog.showModal();
    await load(holder, open.signal, async (mine) => {
      const data = await request("GET", `${path}/test-images/${image.id}/image`, { signal: mine, read: (answer) => answer.blob() });
      const file = new File([data], image.filename, { type: data.type });
      const form = new FormData();
      for (const [key, value] of [["category", name], ["record", "false"]]) form.append(key, value);
      form.append("images", file, file.name);
      const { results: [found] } = await request("POST", "/detect", { form, patient: true, signal: mine });
      return inspectionPanel(found, { signal: mine, file, tried: true });
    });
  }

  function rollBackButton(evaluation, text, label = null) {
    return h("button", { "aria-label": label, onclick: async () => { if (await rollBack(name, evaluation)) await renew(); } }, text);
  }

  function history(evaluations) {
    if (evaluations.length < 2) return null;
    const columns = ["at", "recall", "escapes", "rejects", "rate", "restore"];
    return h("section", { class: "card" }, h("h2", {}, t("testset.history")),
      h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("testset.history") }, h("table", {},
        h("thead", {}, h("tr", {}, columns.map((each) => h("th", { scope: "col" }, t(`testset.${each}`))))),
        h("tbody", {}, evaluations.filter(({ finished_at: at }) => at !== null).map((evaluation, index) => {
          const { started_at: at, summary, change, settings } = evaluation;
          return h("tr", {},
            h("td", {}, moment(at)), h("td", {}, summary.recall === null ? "–" : percent(summary.recall)),
            h("td", {}, `${number(summary.missed)}${change ? ` (${signed(change.newly_missed.length - change.no_longer_missed.length)})` : ""}`),
            h("td", {}, `${number(summary.rejected)}${change ? ` (${signed(change.newly_rejected.length - change.no_longer_rejected.length)})` : ""}`),
            h("td", {}, percent(settings.false_reject_rate)),
            h("td", {}, index === 0 ? "" : rollBackButton(evaluation, t("rollback.act"), t("rollback.title", { at: moment(at) }))));
        })))));
  }
}

function signed(count) {
  return count > 0 ? `+${number(count)}` : number(count).replace("-", "−");
}

/** The share of defects found against the share of good parts rejected, over all thresholds. */
function curve(roc) {
  const share = (value) => percent(value, 0);
  return chart({
    said: t("testset.roc"), height: 220,
    lines: [{ kind: "yield", name: t("testset.roc"), points: [...roc.map(({ false_rejects: good, recall }) => [good, recall]), [1, 1]] }],
    across: { from: 0, to: 1, ticks: [[0, share(0)], [0.5, share(0.5)], [1, share(1)]] },
    up: { from: 0, to: 1, ticks: ticks(0, 1, share, 3) },
  });
}

/** Good against defective images by score, with a threshold to be moved; `judge(value, isOwn)` is called at each place. */
function distribution(scored, threshold, judge) {
  const values = scored.map(({ score: value }) => value);
  const [low, high] = [Math.min(...values, threshold ?? Infinity), Math.max(...values, threshold ?? 0)];
  const wide = Math.max(high - low, 1e-6);
  const [from, to] = [low - wide * 0.03, high + wide * 0.03];
  const x = (value) => ((value - from) / (to - from)) * WIDTH;
  const bins = [false, true].map((defective) =>
    binned(scored.filter(({ image }) => image.defective === defective).map(({ score: value }) => value), from, to));
  const tallest = Math.max(...bins.flat());
  const bars = bins.flatMap((counts, kind) => counts.map((count, at) => s("rect", {
    class: kind ? "bar-part tone-anomalous" : "bar-part tone-normal", x: (at + kind / 2) * (WIDTH / BINS) + 0.5, width: WIDTH / BINS / 2 - 1,
    y: HEIGHT - (count / tallest) * (HEIGHT - 8), height: (count / tallest) * (HEIGHT - 8),
  })));
  const line = s("line", { class: "threshold", y1: 0, y2: HEIGHT });
  const slider = h("input", { type: "range", id: "test-threshold", min: from, max: to, step: (to - from) / 500, "data-own-keys": true, oninput: () => set(Number(slider.value), false) });
  set(threshold ?? (low + high) / 2, threshold !== null);
  return h("div", { class: "chart" }, s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": t("testset.distribution") }, bars, line),
    h("div", { class: "legend" }, h("span", { class: "tone-normal key-bar" }, t("testset.good")), h("span", { class: "tone-anomalous key-bar" }, t("testset.defective"))),
    h("div", { class: "field" }, h("label", { for: "test-threshold" }, t("testset.threshold")), slider));

  function set(value, isOwn) {
    slider.value = value;
    slider.setAttribute("aria-valuetext", score(value));
    for (const end of ["x1", "x2"]) line.setAttribute(end, x(value));
    judge(value, isOwn);
  }
}
