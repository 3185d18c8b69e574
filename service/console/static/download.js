// Saves files: what a GET answers, for which a plain link could not carry the reader's key, and what the page has made.

import { request } from "./api.js";
import { h } from "./dom.js";
import { tellProblem } from "./toasts.js";

export async function download(path, query, filename, signal) {
  try {
    save(await request("GET", path, { query, signal, read: (answer) => answer.blob() }), filename);
  } catch (error) {
    tellProblem(error);
  }
}

/** Have the browser save a Blob. */
export function save(blob, filename) {
  const link = h("a", { href: URL.createObjectURL(blob), download: filename });
  link.click();
  URL.revokeObjectURL(link.href);
}
