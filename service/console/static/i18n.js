// The console's words in the reader's language, and numbers and times as that language writes them.
// To translate it: copy strings/en.json, translate the values, and add the language to AVAILABLE.

const AVAILABLE = ["en"];
const AGAIN_MS = 2000;

let words = {};
let language = "en";

/** Read the texts, however often it takes; to be awaited once, before anything is shown. Returns their language. */
export async function loadStrings() {
  language = navigator.languages.map((tag) => tag.split("-")[0]).find((name) => AVAILABLE.includes(name)) ?? "en";
  const file = new URL(`strings/${language}.json`, import.meta.url);
  for (;;) {
    try {
      words = await (await fetch(file)).json();
      break;
    } catch { // the service went away after it had sent this page
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
  return language;
}

/** The text of a key. `{name}` in it is replaced by values.name; with `count`, key.one or key.other is taken. */
export function t(key, values = {}) {
  const chosen = values.count === undefined ? key : `${key}.${new Intl.PluralRules(language).select(values.count)}`;
  const text = words[chosen];
  if (text === undefined) throw new Error(`no text for ${chosen}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : String(value);
  });
}

/** Whether there is a text for a key. */
export function known(key) {
  return key in words;
}

/** A number with so many digits after the point, at most. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(navigator.language, { maximumFractionDigits: digits }).format(value);
}

/** A score: four digits after the point, always, so that columns align. */
export function score(value) {
  const format = { minimumFractionDigits: 4, maximumFractionDigits: 4 };
  return value === null ? "–" : new Intl.NumberFormat(navigator.language, format).format(value);
}

/** A share of 1 as per cent. */
export function percent(share, digits = 1) {
  return new Intl.NumberFormat(navigator.language, { style: "percent", maximumFractionDigits: digits }).format(share);
}

/** Bytes in the largest unit that leaves a number of 1 or more. */
export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log(count) / Math.log(1000)));
  const format = { style: "unit", unit: units[power], unitDisplay: "short", maximumFractionDigits: power ? 1 : 0 };
  return new Intl.NumberFormat(navigator.language, format).format(count / 1000 ** power);
}

/** A time as a reader's clock and calendar show it. */
export function moment(iso) {
  return new Intl.DateTimeFormat(navigator.language, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(iso));
}

/** The time of day only. */
export function clock(iso) {
  return new Intl.DateTimeFormat(navigator.language, { timeStyle: "medium" }).format(new Date(iso));
}
