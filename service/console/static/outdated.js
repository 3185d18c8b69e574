// Has a view shown anew of which something was changed from elsewhere: by a notice that has outlived the view it is of.

import { parseRoute } from "./route.js";

const OUTDATED = "touchstone-outdated";

/** Say that a category was changed: where one of its pages is shown, that is shown anew, see `onOutdated`. */
export function outdated(category) {
  if (parseRoute(location.hash, ["categories"], "").rest[0] === category) dispatchEvent(new Event(OUTDATED));
}

/** Be told when what is shown is no longer so. */
export function onOutdated(listener) {
  addEventListener(OUTDATED, listener);
}
