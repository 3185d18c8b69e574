// Teach a product and inspect a part from Node 20 or newer, without packages: node detect.mjs CATEGORY GOOD_FOLDER PART.png
import { openAsBlob } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const url = process.env.TOUCHSTONE_URL ?? "http://127.0.0.1:8000";
const headers = process.env.TOUCHSTONE_KEY ? { Authorization: `Bearer ${process.env.TOUCHSTONE_KEY}` } : {};

const IMAGE = /\.(png|apng|jpe?g|jpe|jfif|mpo|bmp|dib|tiff?|webp)$/i;

// Posts a form. Passing failures are tried again, no sooner than the service asks; a wait of more than a minute is not
// begun, and anything else is thrown.
async function post(path, form, more = {}) {
  for (let attempt = 1; ; attempt++) {
    let answer;
    try {
      answer = await fetch(url + path, { method: "POST", body: form, headers: { ...headers, ...more } });
    } catch (error) {
      if (attempt === 5) throw error;
      await sleep(250 * 2 ** attempt);
      continue;
    }
    if (answer.ok) return answer.json();
    // application/problem+json: type, title, status, detail; something else when a proxy answers
    const problem = await answer.json().catch(() => ({ detail: `${url} answered ${answer.status}` }));
    const asked = Number(answer.headers.get("retry-after") ?? 0) || 0;
    if (![429, 503, 504].includes(answer.status) || attempt === 5 || asked > 60) throw new Error(problem.detail);
    await sleep(Math.max(1000 * asked, 250 * 2 ** attempt));
  }
}

async function form(fields, paths) {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields)) made.set(name, value);
  for (const path of paths) made.append("images", await openAsBlob(path), basename(path));
  return made;
}

const [category, good, part] = process.argv.slice(2);
try {
  const files = (await readdir(good)).filter((name) => IMAGE.test(name)).sort().map((name) => join(good, name));
  const onboarded = await post("/references", await form({ category }, files));
  console.log(`${onboarded.added} references added, ${onboarded.duplicates} were there already`);
  // The key makes a second try safe: the same request is inspected and recorded once.
  const answer = await post("/detect", await form({ category }, [part]), { "Idempotency-Key": randomUUID() });
  const found = answer.results[0];
  console.log(`${found.verdict}: score ${found.score.toFixed(4)}, threshold ${found.threshold}`);
  process.exitCode = found.verdict === "normal" ? 0 : 1;
} catch (error) {
  console.error(`detect.mjs: ${error.message}`);
  process.exitCode = 2;
}
