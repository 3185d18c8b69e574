// A service for the console's modules, which they take to be where they were loaded from.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const ROOT = new URL("../../../service/", import.meta.url); // of the service, as modules in static/ reckon it

// Node keeps a localStorage in a file, which other files' tests would share; a session is this process's own.
Object.defineProperty(globalThis, "localStorage", { value: sessionStorage });

/**
 * Start a service that serves the console's files; `handle(request, response)` answers everything else. It ends with the
 * test. `fetch` then reaches it at the address of the modules' folder, which Node cannot read from.
 */
export async function serve(context, handle) {
  const server = createServer(async (request, response) => {
    if (request.url.startsWith("/console/static/")) response.end(await readFile(new URL(`.${request.url}`, ROOT)));
    else handle(request, response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}/`;
  const { fetch } = globalThis;
  globalThis.fetch = (url, options) => fetch(String(url).replace(ROOT.href, origin), options);
  context.after(() => {
    globalThis.fetch = fetch;
    server.closeAllConnections();
    server.close();
  });
}

/** Answer with JSON. */
export function json(response, status, body, headers = {}) {
  response.writeHead(status, { "Content-Type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}
