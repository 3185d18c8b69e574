// Asks the service to inspect one image, once, however often the request has to be sent.

import { request } from "./api.js";

/**
 * What was detected in a file: as a part of `category` ("": of whichever fits), recorded where `record` says so. Sent
 * again under the same key, it is recorded once.
 */
export async function inspectImage(file, { category, record, signal, key = idempotencyKey() }) {
  const form = new FormData();
  if (category) form.append("category", category);
  if (!record) form.append("record", "false");
  form.append("images", file, file.name);
  const headers = { "Idempotency-Key": key };
  const { results: [found] } = await request("POST", "/detect", { form, headers, patient: true, signal });
  return found;
}

/** A random name for one request. Not crypto.randomUUID, which browsers keep to https. */
export function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
