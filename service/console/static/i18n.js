// The console's words in the reader's language, and numbers and times as that language writes them.
// To translate it: copy strings/en.json, translate the values, and add the language to LANGUAGES.

/** For each language what the page calls it in short, what HTML calls it, and how numbers and times are written in it. */
export const LANGUAGES = {
  en: { short: "EN", tag: "en", locale: "en-GB" },
  de: { short: "DE", tag: "de", locale: "de-DE" },
  es: { short: "ES", tag: "es", locale: "es-ES" },
  zh: { short: "中文", tag: "zh-Hans", locale: "zh-CN" },
};
const CHOSEN = "touchstone-language";
const AGAIN_MS = 2000;

let words = {};
let language = "en";
let locale = navigator.language;

/** Read the texts, however often it takes; to be awaited once, before anything is shown. Returns their language. */
export async function loadStrings() {
  const primary = (tag) => tag.split("-")[0];
  const chosen = localStorage.getItem(CHOSEN);
  language = [chosen, ...navigator.languages.map(primary)].find((name) => Object.hasOwn(LANGUAGES, name ?? "")) ?? "en";
  // A reader of one region's kind of a language has that region's numbers and times.
  locale = navigator.languages.find((tag) => primary(tag) === language) ?? (chosen === language ? LANGUAGES[language].locale : navigator.language);
  const file = new URL(`strings/${language}.json`, import.meta.url);
  for (;;) {
    try {
      const answer = await fetch(file);
      if (!answer.ok) throw new Error(String(answer.status));
      words = await answer.json();
      break;
    } catch { // the service went away after it had sent this page, or is too busy
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
  return language;
}

/** Remember a language for this browser; it is used once the page is loaded again. */
export function chooseLanguage(name) {
  localStorage.setItem(CHOSEN, name);
}

/** The text of a key. `{name}` in it is replaced by values.name; with `count`, key.one or key.other is taken. */
export function t(key, values = {}) {
  const chosen = values.count === undefined ? key : plural(key, values.count);
  const text = words[chosen];
  if (text === undefined) throw new Error(`no text for ${chosen}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = values[name];
    return typeof value === "number" ? number(value) : String(value);
  });
}

/** Spanish has another form for millions, which reads like that for several here; Chinese has one form. */
function plural(key, count) {
  const form = `${key}.${new Intl.PluralRules(language).select(count)}`;
  return known(form) ? form : `${key}.other`;
}

/** Whether there is a text for a key. */
export function known(key) {
  return key in words;
}

/** A number with so many digits after the point, at most. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
}

/** A score: four digits after the point, always, so that columns align. */
export function score(value) {
  const format = { minimumFractionDigits: 4, maximumFractionDigits: 4 };
  return value === null ? "–" : new Intl.NumberFormat(locale, format).format(value);
}

/** A share of 1 as per cent. */
export function percent(share, digits = 1) {
  return new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: digits }).format(share);
}

/** Bytes in the largest unit that leaves a number of 1 or more. */
export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = count < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log(count) / Math.log(1000)));
  const format = { style: "unit", unit: units[power], unitDisplay: "short", maximumFractionDigits: power ? 1 : 0 };
  return new Intl.NumberFormat(locale, format).format(count / 1000 ** power);
}

/** A time as a reader's clock and calendar show it. */
export function moment(iso) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(iso));
}

/** The time of day only; with no seconds where `style` is "short". */
export function clock(iso, style = "medium") {
  return new Intl.DateTimeFormat(locale, { timeStyle: style }).format(new Date(iso));
}
