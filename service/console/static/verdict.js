// Shows a verdict, and the score that it rests on beside its threshold.

import { h, s } from "./dom.js";
import { number, score, t } from "./i18n.js";

const SHAPES = {
  normal: () => [
    s("circle", { cx: 12, cy: 12, r: 11, fill: "currentColor" }),
    s("path", { d: "m6.5 12.5 3.8 3.8 7.2-8", class: "cut" }),
  ],
  anomalous: () => [
    s("path", { d: "M7.5 1h9L23 7.5v9L16.5 23h-9L1 16.5v-9z", fill: "currentColor" }),
    s("path", { d: "m8 8 8 8m0-8-8 8", class: "cut" }),
  ],
  unfamiliar: () => [
    s("path", { d: "M12 1 23.5 22H.5z", fill: "currentColor" }),
    s("path", { d: "M12 9v6m0 2.4v.2", class: "cut" }),
  ],
  uncalibrated: () => [
    s("rect", { x: 2, y: 2, width: 20, height: 20, rx: 3, fill: "none", stroke: "currentColor", "stroke-width": 2.5, "stroke-dasharray": "4 2.5" }),
    s("path", { d: "M8 12h8", fill: "none", stroke: "currentColor", "stroke-width": 2.5 }),
  ],
};

export const VERDICTS = Object.keys(SHAPES);
export const REJECTING = ["anomalous", "unfamiliar"];

/** Whether a part with this verdict is rejected. */
export function isReject(verdict) {
  return REJECTING.includes(verdict);
}

/** A verdict's shape and word. */
export function badge(verdict, word = t(`verdict.${verdict}`)) {
  return h("span", { class: `verdict tone-${verdict}` },
    s("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, SHAPES[verdict]()), word);
}

/** A bar from 0 to the score, with the threshold marked where there is one. */
export function scoreBar(inspection) {
  const { score: reached, threshold, verdict } = inspection;
  const end = Math.max(reached, threshold ?? 0, 1e-6) * 1.2;
  const at = (value) => `${Math.min(100, (100 * value) / end)}%`;
  const said = threshold === null
    ? t("score.alone", { score: score(reached) })
    : t("score.against", { score: score(reached), threshold: score(threshold), times: number(reached / threshold, 2) });
  return h("div", { class: `scorebar tone-${verdict}` },
    s("svg", { role: "img", "aria-label": said },
      s("rect", { class: "track", x: 0, y: 9, width: "100%", height: 16, rx: 4 }),
      s("rect", { class: "filled", x: 0, y: 9, width: at(reached), height: 16, rx: 4 }),
      threshold === null ? null : s("line", { class: "mark", x1: at(threshold), x2: at(threshold), y1: 3, y2: 31 }),
    ),
    h("p", { class: "hint" }, said),
  );
}
