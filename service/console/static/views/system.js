// System: is it well, what is running, which stations work, who may use it, and who changed what?

import { ROLES, may, needsRole } from "../access.js";
import { address, get, request, send } from "../api.js";
import { confirmed } from "../dialog.js";
import { fill, h } from "../dom.js";
import { load, loading, repeat } from "../loading.js";
import { problemPanel, tell, tellProblem } from "../toasts.js";
import { paged } from "../pages.js";
import { stationsTable } from "../stations.js";
import { bytes, moment, number, t } from "../i18n.js";

const EVERY_MS = 5000;

export async function show(place, { signal }) {
  const cards = { health: readHealth, running: readRunning };
  if (may("operator")) cards.stations = readStations;
  if (may("engineer")) Object.assign(cards, { memory: readMemory, storage: readStorage }); // a line is not told what is kept
  const sections = Object.fromEntries(Object.keys(cards).map((name) =>
    [name, h("section", { class: "card", "aria-label": t(`system.${name}`) }, h("h2", {}, t(`system.${name}`)), loading())]));
  const { stations = null, storage = null, ...others } = sections;
  const administration = h("div", { class: "view" });
  fill(place, h("h1", {}, t("nav.system")), h("div", { class: "cards" }, Object.values(others)), stations, storage, administration);
  for (const name of Object.keys(cards)) refresh(name);
  repeat(EVERY_MS, () => Promise.all(["health", "memory", "stations"].filter((name) => name in cards).map(refresh)), signal);
  if (!may("admin")) {
    fill(administration, needsRole("admin"));
    return;
  }
  showKeys(administration, signal);
  showAudit(administration, signal);

  function refresh(name) {
    return load(sections[name], signal, cards[name], h("h2", {}, t(`system.${name}`)));
  }
}

function facts(prefix, rows) {
  return h("dl", { class: "facts" }, rows.filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => [h("dt", {}, t(`${prefix}.${name}`)), h("dd", {}, value)]).flat());
}

async function readHealth(signal) {
  try {
    // Not waited out: that it is not ready is what there is to say.
    const ready = await request("GET", "/readyz", { patient: false, signal });
    return [
      h("p", { class: "verdict tone-normal large" }, t("system.ready")),
      facts("ready", [
        ["forward", t("inspection.ms", { ms: number(ready.forward_ms, 1) })], ["references", number(ready.references)],
        ["version", String(ready.version)], ["history", t(ready.recording_enabled ? "ready.kept" : ready.read_only ? "ready.readOnly" : "ready.full")],
        ["failing", ready.failing.length ? ready.failing.map((task) => task.name).join(", ") : null],
      ]),
    ];
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return problemPanel(error);
  }
}

async function readRunning(signal) {
  const { touchstone, encoder, engine, codec, corrupt_segments: damaged } = await get("/version", {}, signal);
  return [
    facts("version", [
      ["touchstone", touchstone], ["encoder", encoder.name], ["device", encoder.device], ["layers", encoder.layers.join(", ")],
      ["patch", t("version.pixels", { count: encoder.patch })],
      ["engine", engine], ["codec", codec], ["fingerprint", encoder.fingerprint.slice(0, 12)],
      ["damaged", damaged.length ? damaged.join(", ") : null],
    ]),
    h("p", { class: "hint" }, encoder.note),
  ];
}

async function readMemory(signal) {
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
    h("p", {}, h("a", { href: address("/docs") }, t("memory.docs"))),
  ];
}

async function readStations(signal) {
  const { stations } = await get("/stations", {}, signal);
  return stationsTable(stations);
}

async function readStorage(signal) {
  const { categories, disk, pending_deletion: waiting, pruned_at: pruned, limits } = await get("/storage", {}, signal);
  const sized = ({ count, bytes: size }) => (count ? t("storage.sized", { amount: count, size: bytes(size) }) : "–");
  const goes = ({ next_inspections: rows, next_images: images }) =>
    (rows.count || images.count ? t("storage.goes", { rows: rows.count, images: images.count }) : "–");
  const columns = ["category", "references", "others", "others.images", "defects", "defects.images", "next"];
  return [
    table("system.storage", columns.map((each) => t(`storage.${each}`)), categories.map(({ name, references, others, defects }) => [
      name ?? t("storage.none"), sized({ count: references.count, bytes: references.image_bytes + references.code_bytes }),
      number(others.inspections), sized(others.images), number(defects.inspections), sized(defects.images),
      [others, defects].map(goes).filter((each) => each !== "–").join("; ") || "–",
    ])),
    facts("storage", [
      ["keeps", bounds(limits.inspections)], ["keeps.images", bounds(limits.images)],
      ["keeps.defects", bounds(limits.defects)], ["keeps.defect-images", bounds(limits.defect_images)],
      ["images-below", bytes(disk.prune_images_below_bytes)], ["history-below", bytes(disk.stop_recording_below_bytes)],
      ["waiting", sized(waiting)], ["pruned", pruned === null ? null : moment(pruned)],
    ]),
  ];
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
  const listed = h("div", {}, loading());
  const fresh = h("div", { "aria-live": "polite" });
  const name = h("input", { id: "key-name", required: true, maxlength: 128, autocomplete: "off" });
  const role = h("select", { id: "key-role" }, ROLES.map((each) => h("option", { value: each }, t(`role.${each}`))));
  const days = h("input", { id: "key-days", type: "number", min: 1, max: 36500 });
  const form = h("form", { class: "filters", onsubmit: make },
    [[name, "keys.name"], [role, "keys.role"], [days, "keys.days"]].map(([field, text]) =>
      h("div", { class: "field" }, h("label", { for: field.id }, t(text)), field)),
    h("button", { class: "primary" }, t("keys.make")));
  place.append(h("section", { class: "card", "aria-label": t("system.keys") }, h("h2", {}, t("system.keys")), form, fresh, listed));
  await list();

  function list() {
    return load(listed, signal, async (mine) => {
      const { keys } = await get("/keys", {}, mine);
      if (keys.length === 0) return h("p", { class: "hint" }, t("keys.none"));
      const columns = ["name", "role", "created", "expires", "state"].map((each) => t(`keys.${each}`));
      return table("system.keys", [...columns, h("span", { class: "unseen" }, t("keys.revoke"))], keys.map(row));
    });
  }

  function row(each) {
    const ended = each.revoked_at !== null ? "revoked" : each.expires_at !== null && new Date(each.expires_at) < new Date() ? "expired" : "valid";
    return [
      each.name, t(`role.${each.role}`), moment(each.created_at), each.expires_at === null ? t("keys.never") : moment(each.expires_at),
      t(`keys.${ended}`),
      ended === "valid" ? h("button", { class: "danger", "aria-label": t("keys.revoke.of", { name: each.name }), onclick: () => revoke(each) }, t("keys.revoke")) : "",
    ];
  }

  async function make(event) {
    event.preventDefault();
    try {
      const body = { name: name.value, role: role.value, expires_in_days: days.value ? Number(days.value) : null };
      const created = await send("POST", "/keys", body, signal);
      fill(fresh, h("div", { class: "fresh" }, h("p", {}, t("keys.made", { name: created.name })), h("code", {}, created.token),
        // Browsers keep the clipboard to https and to this very machine.
        navigator.clipboard ? h("button", { onclick: () => navigator.clipboard.writeText(created.token).then(() => tell(t("keys.copied"))) }, t("keys.copy")) : null));
      form.reset();
      await list();
    } catch (error) {
      tellProblem(error);
    }
  }

  async function revoke(each) {
    const title = t("keys.revoke.of", { name: each.name });
    if (!(await confirmed({ title, content: h("p", {}, t("keys.revoke.sure")), act: t("keys.revoke") }))) return;
    try {
      await request("DELETE", `/keys/${each.id}`, { signal, read: () => null });
      await list();
    } catch (error) {
      tellProblem(error);
    }
  }
}

async function showAudit(place, signal) {
  const body = h("tbody", {});
  const more = h("div", { class: "actions" });
  const fields = ["actor", "action", "target"].map((name) => h("input", { id: `audit-${name}`, maxlength: 128, autocomplete: "off", onchange: () => again() }));
  const again = paged(body, more, async (cursor, mine) => {
    const [actor, action, target] = fields.map(({ value }) => value.trim());
    const page = await get("/audit", { actor, action, target, cursor, limit: 25 }, mine);
    return { items: page.entries.map(entered), next: page.next_cursor };
  }, signal);
  place.append(h("section", { class: "card", "aria-label": t("system.audit") }, h("h2", {}, t("system.audit")),
    h("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); return again(); } }, fields.map((field) =>
      h("div", { class: "field" }, h("label", { for: field.id }, t(field.id.replace("-", "."))), field))),
    h("div", { class: "table", tabindex: "0", role: "group", "aria-label": t("system.audit") }, h("table", {}, h("thead", {}, h("tr", {}, ["at", "actor", "action", "target", "change"].map((each) =>
      h("th", { scope: "col" }, t(`audit.${each}`))))), body)),
    more));
  await again();
}

function entered(entry) {
  return h("tr", {},
    h("td", {}, moment(entry.at)), h("td", {}, entry.actor), h("td", {}, entry.action), h("td", {}, entry.target),
    h("td", {}, changes(entry).map((text) => h("div", { class: "change" }, text))));
}

function changes({ before, after }) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const text = (value) => (value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));
  return names.map((name) => (name in before && name in after
    ? `${name}: ${text(before[name])} → ${text(after[name])}` : `${name}: ${text(name in after ? after[name] : before[name])}`));
}
