import assert from "node:assert/strict";
import { before, test } from "node:test";

import { bytes, chooseLanguage, clock, known, loadStrings, moment, number, percent, score, t } from "../../../service/console/static/i18n.js";
import { serve } from "./service.js";

before(async (context) => {
  await serve(context, (_, response) => response.writeHead(404).end());
  assert.equal(await loadStrings(), "en");
});

test("values stand in a text, numbers as the reader writes them", () => {
  assert.equal(t("who.key", { name: "press-4", role: "line" }), "press-4 (line)");
  assert.equal(t("categories.references", { count: 1 }), "1 reference");
  assert.equal(t("categories.references", { count: 12345 }), "12,345 references");
});

test("a text that is not there is an error, and can be asked about", () => {
  assert.throws(() => t("no.such.text"), /no text for no.such.text/);
  assert.equal(known("no.such.text"), false);
  assert.equal(known("nav.live"), true);
});

test("scores have four digits, and none is a dash", () => {
  assert.equal(score(0.5), "0.5000");
  assert.equal(score(0.12345), "0.1235");
  assert.equal(score(null), "–");
});

test("numbers and shares have as many digits as are asked for", () => {
  assert.equal(number(1234.56), "1,235");
  assert.equal(number(1234.56, 1), "1,234.6");
  assert.equal(percent(0.0123), "1.2%");
  assert.equal(percent(0.0123, 0), "1%");
});

test("bytes are told in the largest unit that leaves one or more", () => {
  assert.deepEqual([0, 1, 999, 1000, 1_500_000, 2e12, 3e15].map(bytes), ["0 byte", "1 byte", "999 byte", "1 kB", "1.5 MB", "2 TB", "3,000 TB"]);
});

test("times are told by the reader's clock and calendar", () => {
  assert.equal(clock("2026-05-06T14:03:02Z"), "16:03:02");
  assert.equal(moment("2026-05-06T14:03:02Z"), "6 May 2026, 16:03:02");
});

test("a chosen language is remembered, with its plurals, numbers and times", async (context) => {
  await serve(context, (_, response) => response.writeHead(404).end());
  context.after(() => localStorage.clear());
  const told = async (name) => {
    chooseLanguage(name);
    assert.equal(await loadStrings(), name);
    return [t("categories.references", { count: 1 }), t("categories.references", { count: 1_000_000 }), percent(0.0123), score(0.5), moment("2026-05-06T14:03:02Z")];
  };
  const plain = (texts) => texts.map((text) => text.replaceAll("\u00a0", " "));
  assert.deepEqual(plain(await told("de")), ["1 Referenz", "1.000.000 Referenzen", "1,2 %", "0,5000", "06.05.2026, 16:03:02"]);
  assert.deepEqual(plain(await told("es")), ["1 referencia", "1.000.000 referencias", "1,2 %", "0,5000", "6 may 2026, 16:03:02"]);
  assert.deepEqual(plain(await told("zh")), ["1 张参考图", "1,000,000 张参考图", "1.2%", "0.5000", "2026年5月6日 16:03:02"]);
});

test("a language that is not there leaves the browser's", async (context) => {
  await serve(context, (_, response) => response.writeHead(404).end());
  context.after(() => localStorage.clear());
  chooseLanguage("toString");
  assert.equal(await loadStrings(), "en");
  assert.equal(clock("2026-05-06T14:03:02Z"), "16:03:02");
});
