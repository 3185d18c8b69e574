// Saves what a GET answers as a file: a plain link could not carry the reader's key.

import { request } from "./api.js";
import { h } from "./dom.js";
import { tellProblem } from "./toasts.js";

export async function download(path, query, filename, signal) {
  try {
    const blob = await request("GET", path, { query, signal, read: (answer) => answer.blob() });
    const link = h("a", { href: URL.createObjectURL(blob), download: filename });
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    tellProblem(error);
  }
}
