// Talks to the API of the service that sent this page, with the reader's key, and to nothing else.

import { askForKey, key } from "./session.js";

/** What the API answers when it cannot do what was asked: RFC 9457, or a connection that failed. */
export class Problem extends Error {
  constructor(body) {
    super(body.detail ?? body.title);
    this.kind = (body.type ?? "").replace("/problems/", "");
    this.title = body.title;
    this.status = body.status;
    this.requestId = body.request_id ?? null;
    this.body = body;
  }
}

/**
 * The answer to a request. `query` leaves out what is null, undefined or empty; `json` or `form` is the body.
 * Asks for a key where one is needed, and goes on with it. Throws Problem, or AbortError when `signal` says so.
 */
export async function request(method, path, { query = {}, json, form, headers = {}, signal } = {}) {
  for (;;) {
    const used = key();
    const sent = new Headers(headers);
    if (used !== null) sent.set("Authorization", `Bearer ${used}`);
    if (json !== undefined) sent.set("Content-Type", "application/json");
    const body = json === undefined ? form : JSON.stringify(json);
    let answer;
    try {
      answer = await fetch(path + asked(query), { method, headers: sent, body, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ type: "/problems/unreachable", title: error.message, status: 0 });
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      await askForKey(used, signal);
      continue;
    }
    throw await problemOf(answer);
  }
}

/** The JSON answer to a GET. */
export async function get(path, query = {}, signal = undefined) {
  return (await request("GET", path, { query, signal })).json();
}

/** The JSON answer to a request with a JSON body, or with none. */
export async function send(method, path, json = undefined, signal = undefined) {
  return (await request(method, path, { json, signal })).json();
}

/** A picture as a URL that only this page knows; give it to `URL.revokeObjectURL` once it is drawn. */
export async function pictureUrl(path, query = {}, signal = undefined) {
  return URL.createObjectURL(await (await request("GET", path, { query, signal })).blob());
}

/** An <img> that fetches its picture when it comes near the screen. Shows nothing when there is none. */
export function picture(path, alt, query = {}, attributes = {}) {
  const image = document.createElement("img");
  image.alt = alt;
  image.decoding = "async";
  for (const [name, value] of Object.entries(attributes)) image.setAttribute(name, value);
  near.set(image, async () => {
    try {
      const url = await pictureUrl(path, query);
      image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
      image.src = url;
    } catch {
      image.classList.add("missing");
    }
  });
  watcher.observe(image);
  return image;
}

const near = new WeakMap();
const watcher = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      near.get(target)();
    }
  },
  { rootMargin: "200px" },
);

async function problemOf(answer) {
  try {
    return new Problem(await answer.json());
  } catch {
    return new Problem({ title: answer.statusText, status: answer.status });
  }
}

function asked(query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}
