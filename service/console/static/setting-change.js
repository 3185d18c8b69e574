// Words for a setting that changes from one value to another.

import { number, score, t } from "./i18n.js";

const SHARES = new Set(["pooled_share", "false_reject_rate", "unfamiliar_rate"]);

/** "K: 150 → 30", of values as the API has them. */
export function settingChange(key, from, to) {
  return t("settings.change", { setting: t(`settings.${key}`), from: valueText(key, from), to: valueText(key, to) });
}

function valueText(key, value) {
  if (SHARES.has(key)) return number(100 * value, 3);
  if (key === "region_of_interest") return t(value === null ? "settings.area.whole" : "settings.area.part");
  if (key === "geometry") return number(value.cells);
  if (key === "refuse") return value.length ? value.map((kind) => t(`finding.${kind}`)).join(", ") : t("settings.refuse.none");
  if (value === null) return t("settings.calibrated");
  if (key === "layer_weights") return value.map((weight) => number(weight, 3)).join(" · ");
  return key === "threshold" ? score(value) : number(value);
}
