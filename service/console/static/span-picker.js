// Buttons that set a search's times to a shift, a day or a week; the times of shifts are kept on this computer.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { SPANS, USUAL_STARTS, fieldText, shiftStarts, timeSpan } from "./time-span.js";

const STARTS = "touchstone-shift-starts";

/** { element, update() } for a form with the fields `since` and `until`; `changed()` is called when a button sets them. */
export function spanPicker(form, changed) {
  const [since, until] = ["since", "until"].map((name) => form.querySelector(`#filter-${name}`));
  const starts = h("input", {
    id: "shift-starts", type: "text", maxlength: 60, autocomplete: "off", "aria-describedby": "shift-starts-wrong", onchange: keep,
  });
  starts.value = localStorage.getItem(STARTS) ?? USUAL_STARTS;
  const wrong = h("span", { id: "shift-starts-wrong", class: "error", role: "alert" });
  const buttons = SPANS.map((name) => h("button", { type: "button", onclick: () => choose(name) }, t(`history.span.${name}`)));
  const element = h("div", { class: "spans" }, h("div", { class: "actions" }, buttons),
    h("div", { class: "starts" }, h("label", { for: starts.id }, t("history.shifts")), starts), wrong);
  return { element, update };

  function span(name) {
    return timeSpan(name, shiftStarts(starts.value) ?? shiftStarts(USUAL_STARTS), new Date());
  }

  function keep() {
    const valid = shiftStarts(starts.value) !== null;
    starts.setAttribute("aria-invalid", String(!valid));
    wrong.textContent = valid ? "" : t("history.shifts.wrong");
    if (valid) localStorage.setItem(STARTS, starts.value);
    update();
  }

  async function choose(name) {
    const chosen = span(name);
    [since.value, until.value] = [fieldText(chosen.since), fieldText(chosen.until)];
    await changed();
  }

  /** Show which of the spans the fields have now. */
  function update() {
    SPANS.forEach((name, index) => {
      const { since: from, until: to } = span(name);
      buttons[index].setAttribute("aria-pressed", String(since.value === fieldText(from) && until.value === fieldText(to)));
    });
  }
}
