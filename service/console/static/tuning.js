// Finds out whether other settings would separate a category's test set better, and applies them.

import { request, send } from "./api.js";
import { fill, h } from "./dom.js";
import { number, percent, t } from "./i18n.js";
import { settingChange } from "./setting-change.js";
import { tell, tellProblem } from "./toasts.js";

/** A card, and a function that shows in it what `GET /categories/{name}/tuning` answered, beside the images there are. */
export function tuningCard({ name }, refresh) {
  const path = `/categories/${encodeURIComponent(name)}`;
  const content = h("div", { class: "view" });
  const card = h("section", { class: "card", "aria-label": t("tuning.title") },
    h("h2", {}, t("tuning.title")), h("p", { class: "hint" }, t("tuning.meaning")), content);
  let shown = "";
  return { card, show };

  function show(status, { good, defective }) {
    const { tuning, min_good: minGood, min_defective: minDefective } = status;
    const seen = JSON.stringify([status, good, defective]);
    if (seen === shown) return; // so that what has the focus keeps it
    shown = seen;
    const few = good < minGood || defective < minDefective;
    const running = tuning !== null && tuning.finished_at === null;
    const applicable = tuning !== null && tuning.result?.better && !tuning.outdated;
    fill(content,
      few ? h("p", {}, t("tuning.few", { minGood, minDefective })) : null,
      running ? progress(tuning) : null,
      tuning?.error ? h("p", { class: "error", role: "alert" }, tuning.error) : null,
      tuning?.result ? said(tuning) : null,
      h("div", { class: "actions" },
        applicable ? h("button", { class: "primary", onclick: () => apply(tuning.result.changes, tuning.settings) }, t("tuning.apply")) : null,
        running ? h("button", { onclick: () => act("DELETE") }, t("tuning.cancel"))
          : h("button", { disabled: few, onclick: () => act("POST") }, t(tuning === null ? "tuning.start" : "tuning.again"))));
  }

  function progress({ done, images }) {
    const text = done === 0 ? t("tuning.preparing") : t("tuning.running", { done, images });
    return h("div", { role: "status" }, h("p", {}, text), h("progress", { max: images, value: done || null, "aria-label": text }));
  }

  function said({ result, settings: then, outdated }) {
    const range = { gain: signed(result.gain), low: signed(result.low), high: signed(result.high), auroc: number(result.auroc, 3) };
    return h("div", { role: "status" },
      h("p", { class: "large" }, t(result.better ? "tuning.better" : "tuning.none")),
      h("p", {}, t("tuning.gain", range)),
      !result.better ? null : h("ul", {}, Object.entries(result.changes).map(([key, value]) =>
        h("li", {}, settingChange(key, then[key], value)))),
      result.better && "geometry" in result.changes ? h("p", {}, t("tuning.geometry")) : null,
      h("p", { class: "hint" }, t("tuning.basis", { good: result.good, defective: result.defective, candidates: result.candidates, agreement: percent(result.agreement, 0) }), " ",
        result.skipped ? t("tuning.skipped", { skipped: result.skipped }) : "", " ", outdated ? t("tuning.outdated") : ""));
  }

  async function act(method) {
    try {
      await request(method, `${path}/tuning`);
    } catch (error) {
      tellProblem(error);
    }
    await refresh();
  }

  async function apply(changes, then) {
    const before = Object.fromEntries(Object.keys(changes).map((key) => [key, then[key]]));
    if (await patched(changes)) tell(t("settings.saved"), { text: t("feedback.undo"), act: async () => { if (await patched(before)) tell(t("settings.undone")); } });
  }

  async function patched(wanted) {
    try {
      await send("PATCH", path, wanted);
      await refresh();
      return true;
    } catch (error) {
      tellProblem(error);
      return false;
    }
  }
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${number(Math.abs(value), 3)}`;
}
