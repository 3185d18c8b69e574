// Lists that are read page by page, with a button for the next one.

import { fill, h } from "./dom.js";
import { load, loading } from "./loading.js";
import { t } from "./i18n.js";

/**
 * `read(cursor, signal)` → { items: [element, …], next: cursor or null } is asked for what `list` shows, and `more` holds
 * the button, until `signal` is aborted. Returns a function that begins again, of which the latest call counts.
 */
export function paged(list, more, read, signal) {
  let reading = new AbortController();
  signal.addEventListener("abort", () => reading.abort());
  return async () => {
    reading.abort();
    reading = new AbortController();
    fill(list);
    fill(more, loading());
    await next(null, reading.signal);
  };

  function next(cursor, mine) {
    return load(more, mine, async (trying) => {
      const page = await read(cursor, trying);
      if (mine.aborted) return undefined;
      list.append(...page.items);
      return page.next === null ? null : h("button", { onclick: () => next(page.next, mine) }, t("list.more"));
    });
  }
}
