// Talks to the API of the service that sent this page, with the reader's key, and to nothing else.

import { Waiting, delay, restored } from "./connection.js";
import { askForKey, key } from "./auth.js";
import { known, t } from "./i18n.js";
import { ROOT } from "./root.js";

const WAITING_HELPS = new Set([408, 429, 502, 503, 504]);
const MOST_RESENT = 3; // times that a body is sent in vain to a service that can be reached: it may be the body's fault
const LONGEST_WAIT = 30; // seconds, whatever Retry-After says

/** What the API answers when it cannot do what was asked: RFC 9457, or a connection that failed (status 0). */
export class Problem extends Error {
  constructor(body, seconds = null) {
    super(body.detail ?? "");
    this.kind = (body.type ?? "").replace("/problems/", "");
    this.title = known(`problem.${this.kind}.title`) ? t(`problem.${this.kind}.title`) : (body.title ?? t("problem.title"));
    this.status = body.status;
    this.requestId = body.request_id ?? null;
    this.seconds = seconds; // that the service wants to be left alone for
    this.body = body;
  }

  /** Whether the same request may succeed a little later. */
  get passes() {
    return this.status === 0 || WAITING_HELPS.has(this.status);
  }
}

/** The URL of a path of the API, or of a page of the service. */
export function address(path, query = {}) {
  const url = new URL(path.slice(1), ROOT);
  const present = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  url.search = new URLSearchParams(present);
  return url.href;
}

/**
 * What `read` makes of the answer to a request: its JSON, if nothing is said. `query` leaves out what is null, undefined
 * or empty; `json` or `form` is the body. Asks for a key where one is needed, and goes on with it. Where `patient`, as
 * every GET is, a failure that may pass is waited out, and the page says so; a request that changes something may be so
 * only if it is safe to repeat. Throws Problem, or AbortError when `signal` says so.
 */
export async function request(method, path, options = {}) {
  const { signal, patient = method === "GET", read = (answer) => answer.json() } = options;
  const waiting = new Waiting();
  try {
    for (let failures = 0, resent = 0; ; failures += 1) {
      try {
        return await asked(method, path, options, read);
      } catch (error) {
        if (!(error instanceof Problem) || !patient || !error.passes) throw error;
        if (error.status === 0) {
          if (await restored(signal)) continue;
          resent += 1; // though it can be reached
          if (method !== "GET" && resent === MOST_RESENT) throw error;
        }
        await waiting.pause(error.title, error.seconds ?? delay(failures), signal);
      }
    }
  } finally {
    waiting.over();
  }
}

/** The JSON answer to a GET. */
export function get(path, query = {}, signal = undefined) {
  return request("GET", path, { query, signal });
}

/** The JSON answer to a request with a JSON body, or with none. */
export function send(method, path, json = undefined, signal = undefined) {
  return request(method, path, { json, signal });
}

/** An image as a URL that only this page knows; give it to `URL.revokeObjectURL` once it is drawn. */
export async function imageUrl(path, query = {}, signal = undefined) {
  return URL.createObjectURL(await request("GET", path, { query, signal, read: (answer) => answer.blob() }));
}

/** One try, with whichever key the reader gives. */
async function asked(method, path, { query = {}, json, form, headers = {}, signal }, read) {
  for (;;) {
    const used = key();
    const sent = new Headers(headers);
    if (used !== null) sent.set("Authorization", `Bearer ${used}`);
    if (json !== undefined) sent.set("Content-Type", "application/json");
    const body = json === undefined ? form : JSON.stringify(json);
    try {
      const answer = await fetch(address(path, query), { method, headers: sent, body, signal });
      if (answer.ok) return await read(answer);
      if (answer.status !== 401) throw await problemOf(answer);
    } catch (error) {
      if (error instanceof Problem || error.name === "AbortError") throw error;
      if (error instanceof SyntaxError) throw new Problem({ type: "/problems/not-touchstone" });
      throw new Problem({ type: "/problems/unreachable", status: 0 });
    }
    await askForKey(used, signal);
  }
}

async function problemOf(answer) {
  const seconds = Number(answer.headers.get("Retry-After"));
  const body = await answer.json().catch(() => ({}));
  const ours = typeof body.type === "string" && body.type.startsWith("/problems/");
  // A proxy in between says in words of its own that it does not reach the service.
  if (!ours && WAITING_HELPS.has(answer.status)) return new Problem({ type: "/problems/unreachable", status: 0 });
  return new Problem(ours ? body : { status: answer.status }, seconds > 0 ? Math.min(seconds, LONGEST_WAIT) : null);
}
