// System: is it well, what is running, who may use it, and who changed what?

import { get, request, send } from "../api.js";
import { fill, h } from "../dom.js";
import { problemPanel, tell, tellProblem } from "../notices.js";
import { bytes, moment, number, t } from "../strings.js";

const ROLES = ["line", "engineer", "admin"];
const EVERY_MS = 5000;

export async function show(place, { signal }) {
  const [health, running, memory] = ["health", "running", "memory"].map((name) =>
    h("section", { class: "card", "aria-label": t(`system.${name}`) }));
  const storage = h("section", { class: "card", "aria-label": t("system.storage") });
  const administration = h("div", { class: "view" });
  fill(place, h("h1", {}, t("nav.system")), h("div", { class: "cards" }, health, running, memory), storage, administration);
  await Promise.all([showHealth(health, signal), showRunning(running, signal)]);
  const { role } = await get("/access", {}, signal);
  const isLine = role === "line"; // whom the API does not tell what is kept
  if (isLine) [memory, storage].forEach((each) => each.remove());
  else await Promise.all([showMemory(memory, signal), showStorage(storage, signal)]);
  if (role === "admin") await Promise.all([showKeys(administration, signal), showAudit(administration, signal)]);
  else fill(administration, h("p", { class: "empty" }, t("system.admins")));
  const timer = setInterval(() => { showHealth(health, signal); if (!isLine) showMemory(memory, signal); }, EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

function facts(prefix, rows) {
  return h("dl", { class: "facts" }, rows.filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => [h("dt", {}, t(`${prefix}.${name}`)), h("dd", {}, value)]).flat());
}

async function card(element, title, signal, read) {
  try {
    const content = await read();
    if (!signal.aborted) fill(element, h("h2", {}, t(title)), content);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.kind === undefined) throw error;
    fill(element, h("h2", {}, t(title)), problemPanel(error));
  }
}

function showHealth(element, signal) {
  return card(element, "system.health", signal, async () => {
    const ready = await get("/readyz", {}, signal);
    return [
      h("p", { class: "verdict tone-normal large" }, t("system.ready")),
      facts("ready", [
        ["forward", t("inspection.ms", { ms: number(ready.forward_ms, 1) })], ["references", number(ready.references)],
        ["version", String(ready.version)], ["history", t(ready.keeps_history ? "ready.kept" : "ready.full")],
      ]),
    ];
  });
}

function showRunning(element, signal) {
  return card(element, "system.running", signal, async () => {
    const { touchstone, encoder, engine, codec, damaged_segments: damaged } = await get("/version", {}, signal);
    return [
      facts("version", [
        ["touchstone", touchstone], ["encoder", encoder.name], ["device", encoder.device], ["layers", encoder.layers.join(", ")],
        ["grid", encoder.grid.join(" × ")], ["geometry", t("version.crop", { crop: encoder.crop, resize: encoder.resize })],
        ["engine", engine], ["codec", codec], ["fingerprint", encoder.fingerprint.slice(0, 12)],
        ["damaged", damaged.length ? damaged.join(", ") : null],
      ]),
      h("p", { class: "hint" }, encoder.note),
    ];
  });
}

function showMemory(element, signal) {
  return card(element, "system.memory", signal, async () => {
    const { memory, disk } = await get("/storage", {}, signal);
    return [
      facts("memory", [
        ["codes", bytes(memory.codes)],
        ["gpu", memory.gpu_size === null ? null : t("memory.of", { free: bytes(memory.gpu_size - memory.gpu_used), size: bytes(memory.gpu_size) })],
        ["disk", t("memory.of", { free: bytes(disk.free), size: bytes(disk.size) })],
      ]),
      h("meter", {
        min: 0, max: disk.size, low: disk.size * 0.8, high: disk.size * 0.9, optimum: 0, value: disk.size - disk.free,
        "aria-label": t("memory.used"),
      }),
      h("p", {}, h("a", { href: "/docs" }, t("memory.docs"))),
    ];
  });
}

function showStorage(element, signal) {
  return card(element, "system.storage", signal, async () => {
    const { categories, disk, awaiting_deletion: waiting, pruned_at: pruned, limits } = await get("/storage", {}, signal);
    const sized = ({ count, bytes: size }) => (count ? t("storage.sized", { amount: count, size: bytes(size) }) : "–");
    const goes = ({ next_inspections: rows, next_pictures: pictures }) =>
      (rows.count || pictures.count ? t("storage.goes", { rows: rows.count, pictures: pictures.count }) : "–");
    const columns = ["category", "references", "others", "others.pictures", "defects", "defects.pictures", "next"];
    return [
      table("system.storage", columns.map((each) => t(`storage.${each}`)), categories.map(({ name, references, others, defects }) => [
        name ?? t("storage.none"), sized({ count: references.count, bytes: references.picture_bytes + references.code_bytes }),
        number(others.inspections), sized(others.pictures), number(defects.inspections), sized(defects.pictures),
        [others, defects].map(goes).filter((each) => each !== "–").join("; ") || "–",
      ])),
      facts("storage", [
        ["keeps", bounds(limits.inspections)], ["keeps.pictures", bounds(limits.pictures)],
        ["keeps.defects", bounds(limits.defects)], ["keeps.defect-pictures", bounds(limits.defect_pictures)],
        ["pictures-below", bytes(disk.pictures_go_below)], ["history-below", bytes(disk.history_stops_below)],
        ["waiting", sized(waiting)], ["pruned", pruned === null ? null : moment(pruned)],
      ]),
    ];
  });
}

function bounds({ count, days, bytes: size }) {
  const said = [
    count === null ? null : number(count), days === null ? null : t("storage.days", { days: number(days, 1) }),
    size === null ? null : bytes(size),
  ].filter((each) => each !== null);
  return said.length ? said.join(" · ") : t("storage.unbounded");
}

function table(name, columns, rows) {
  return h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t(name) }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((each) => h("th", { scope: "col" }, each)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

async function showKeys(place, signal) {
  const body = h("tbody", {});
  const fresh = h("div", { "aria-live": "polite" });
  const name = h("input", { id: "key-name", required: true, maxlength: 128, autocomplete: "off" });
  const role = h("select", { id: "key-role" }, ROLES.map((each) => h("option", { value: each }, t(`role.${each}`))));
  const days = h("input", { id: "key-days", type: "number", min: 1, max: 36500 });
  const form = h("form", { class: "filters", onsubmit: make },
    [[name, "keys.name"], [role, "keys.role"], [days, "keys.days"]].map(([field, text]) =>
      h("div", { class: "field" }, h("label", { for: field.id }, t(text)), field)),
    h("button", { class: "primary" }, t("keys.make")));
  place.append(h("section", { class: "card", "aria-label": t("system.keys") }, h("h2", {}, t("system.keys")), form, fresh,
    h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("system.keys") }, h("table", {}, h("thead", {}, h("tr", {}, ["name", "role", "created", "expires", "state"].map((each) =>
      h("th", { scope: "col" }, t(`keys.${each}`))), h("th", {}, h("span", { class: "unseen" }, t("keys.revoke"))))), body))));
  await load();

  async function load() {
    const { keys } = await get("/keys", {}, signal);
    fill(body, keys.length ? keys.map(row) : h("tr", {}, h("td", { colspan: 6, class: "hint" }, t("keys.none"))));
  }

  function row(each) {
    const ended = each.revoked_at !== null ? "revoked" : each.expires_at !== null && new Date(each.expires_at) < new Date() ? "expired" : "valid";
    return h("tr", {}, h("td", {}, each.name), h("td", {}, t(`role.${each.role}`)), h("td", {}, moment(each.created_at)),
      h("td", {}, each.expires_at === null ? t("keys.never") : moment(each.expires_at)), h("td", {}, t(`keys.${ended}`)),
      h("td", { class: "number" }, ended === "valid"
        ? h("button", { class: "danger", "aria-label": t("keys.revoke.of", { name: each.name }), onclick: () => revoke(each) }, t("keys.revoke")) : null));
  }

  async function make(event) {
    event.preventDefault();
    try {
      const body = { name: name.value, role: role.value, expires_in_days: days.value ? Number(days.value) : null };
      const made = await send("POST", "/keys", body, signal);
      fill(fresh, h("div", { class: "fresh" }, h("p", {}, t("keys.made", { name: made.name })), h("code", {}, made.token),
        h("button", { onclick: () => navigator.clipboard.writeText(made.token).then(() => tell(t("keys.copied"))) }, t("keys.copy"))));
      form.reset();
      await load();
    } catch (error) {
      tellProblem(error);
    }
  }

  async function revoke(each) {
    const sure = h("dialog", { class: "dialog", "aria-labelledby": "revoke-title" },
      h("h2", { id: "revoke-title" }, t("keys.revoke.of", { name: each.name })), h("p", {}, t("keys.revoke.sure")),
      h("form", { method: "dialog", class: "actions" }, h("button", { value: "" }, t("shell.cancel")),
        h("button", { class: "danger", value: "yes" }, t("keys.revoke"))));
    sure.addEventListener("close", async () => {
      sure.remove();
      if (sure.returnValue !== "yes") return;
      try {
        await request("DELETE", `/keys/${each.id}`, { signal });
        await load();
      } catch (error) {
        tellProblem(error);
      }
    });
    document.body.append(sure);
    sure.showModal();
  }
}

async function showAudit(place, signal) {
  const body = h("tbody", {});
  const more = h("button", { onclick: load }, t("audit.more"));
  const fields = ["actor", "action", "target"].map((name) => h("input", { id: `audit-${name}`, maxlength: 128, autocomplete: "off", onchange: again }));
  let cursor = null;
  let reading = new AbortController(); // one list at a time: leaving a field asks again, and so does Enter in it
  place.append(h("section", { class: "card", "aria-label": t("system.audit") }, h("h2", {}, t("system.audit")),
    h("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); again(); } }, fields.map((field) =>
      h("div", { class: "field" }, h("label", { for: field.id }, t(field.id.replace("-", "."))), field))),
    h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("system.audit") }, h("table", {}, h("thead", {}, h("tr", {}, ["at", "actor", "action", "target", "change"].map((each) =>
      h("th", { scope: "col" }, t(`audit.${each}`))))), body)),
    h("div", { class: "actions" }, more)));
  await load();

  async function again() {
    reading.abort();
    reading = new AbortController();
    cursor = null;
    fill(body);
    await load();
  }

  async function load() {
    try {
      const [actor, action, target] = fields.map(({ value }) => value.trim());
      const mine = AbortSignal.any([signal, reading.signal]);
      const page = await get("/audit", { actor, action, target, cursor, limit: 25 }, mine);
      if (mine.aborted) return;
      cursor = page.next_cursor;
      more.hidden = cursor === null;
      body.append(...page.entries.map((entry) => h("tr", {},
        h("td", {}, moment(entry.at)), h("td", {}, entry.actor), h("td", {}, entry.action), h("td", {}, entry.target),
        h("td", {}, changes(entry).map((text) => h("div", { class: "change" }, text))))));
    } catch (error) {
      tellProblem(error);
    }
  }
}

function changes({ before, after }) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const text = (value) => (value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));
  return names.map((name) => (name in before && name in after
    ? `${name}: ${text(before[name])} → ${text(after[name])}` : `${name}: ${text(name in after ? after[name] : before[name])}`));
}
