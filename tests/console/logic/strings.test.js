import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

import { LANGUAGES } from "../../../service/console/static/i18n.js";

const FOLDER = new URL("../../../service/console/static/strings/", import.meta.url);
const read = async (name) => JSON.parse(await readFile(new URL(`${name}.json`, FOLDER), "utf8"));
const placeholders = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

test("every language that can be chosen has its texts", async () => {
  assert.deepEqual((await readdir(FOLDER)).sort(), Object.keys(LANGUAGES).map((name) => `${name}.json`).sort());
});

test("every language has the keys of English, in their order, and its placeholders", async () => {
  const english = await read("en");
  for (const name of Object.keys(LANGUAGES)) {
    const texts = await read(name);
    assert.deepEqual(Object.keys(texts), Object.keys(english), name);
    for (const [key, text] of Object.entries(texts)) {
      assert.ok(text.trim() === text && text !== "", `${name}: ${key}`);
      assert.deepEqual(placeholders(text), placeholders(english[key]), `${name}: ${key}`);
    }
  }
});

test("no key has two texts, of which the first would be lost", async () => {
  for (const name of Object.keys(LANGUAGES)) {
    const keys = [...(await readFile(new URL(`${name}.json`, FOLDER), "utf8")).matchAll(/^ {2}"([^"]+)":/gm)].map(([, key]) => key);
    assert.deepEqual(keys, Object.keys(await read(name)), name);
  }
});

test("no text is left in English where another language has its own", async () => {
  const english = await read("en");
  for (const name of Object.keys(LANGUAGES).filter((other) => other !== "en")) {
    const texts = await read(name);
    const same = Object.keys(texts).filter((key) => texts[key] === english[key] && /\p{L}+ \p{L}+/u.test(texts[key].replaceAll(/\{\w+\}/g, "")));
    assert.deepEqual(same, [], name);
  }
});
