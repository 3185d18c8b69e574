// Where the service is: this module is console/<version>/root.js below it.

/** "/", or the path under which a proxy shows the service. */
export const ROOT = new URL("../../", import.meta.url);
