// Add references and inspect a part from Node 20 or newer, without packages: node detect.mjs CATEGORY GOOD_FOLDER PART.png
import { openAsBlob } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.TOUCHSTONE_URL ?? "http://127.0.0.1:8000";
const headers = process.env.TOUCHSTONE_KEY ? { Authorization: `Bearer ${process.env.TOUCHSTONE_KEY}` } : {};

const IMAGE = /\.(png|apng|jpe?g|jpe|jfif|mpo|bmp|dib|tiff?|webp)$/i;

// Posts a form. Transient failures are retried, no sooner than Retry-After; a Retry-After of more than a minute and other
// failures are thrown.
async function post(path, form, extraHeaders = {}) {
  for (let attempt = 1; ; attempt++) {
    let response;
    try {
      response = await fetch(url + path, { method: "POST", body: form, headers: { ...headers, ...extraHeaders } });
    } catch (error) {
      if (attempt === 5) throw error;
      await sleep(250 * 2 ** attempt);
      continue;
    }
    if (response.ok) return response.json();
    // application/problem+json: type, title, status, detail; something else from a proxy
    const problem = await response.json().catch(() => ({ detail: `${url} returned ${response.status}` }));
    const retryAfter = Number(response.headers.get("retry-after") ?? 0) || 0;
    if (![429, 503, 504].includes(response.status) || attempt === 5 || retryAfter > 60) throw new Error(problem.detail);
    await sleep(Math.max(1000 * retryAfter, 250 * 2 ** attempt));
  }
}

async function form(fields, paths) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.set(name, value);
  for (const path of paths) data.append("images", await openAsBlob(path), basename(path));
  return data;
}

const [category, good, part] = process.argv.slice(2);
try {
  const files = (await readdir(good)).filter((name) => IMAGE.test(name)).sort().map((name) => join(good, name));
  const onboarded = await post("/references", await form({ category }, files));
  console.log(`${onboarded.added} references added, ${onboarded.duplicates} duplicates`);
  // The key makes retries safe: the request is inspected and recorded once.
  const response = await post("/detect", await form({ category }, [part]), { "Idempotency-Key": randomUUID() });
  const detection = response.results[0];
  console.log(`${detection.verdict}: score ${detection.score.toFixed(4)}, threshold ${detection.threshold}`);
  process.exitCode = detection.verdict === "normal" ? 0 : 1;
} catch (error) {
  console.error(`detect.mjs: ${error.message}`);
  process.exitCode = 2;
}
