// Images of the API that are fetched when they come near the screen.

import { imageUrl } from "./api.js";

const MARGIN = "200px"; // from the screen, within which an image is fetched

const fetchers = new WeakMap(); // image → what fetches it
let watcher = null;

/** An <img> that fetches its image when it comes near the screen. Shows nothing, neither its text, until it is there. */
export function lazyImage(path, alt, query = {}) {
  const image = document.createElement("img");
  image.alt = ""; // browsers draw an image with a text and no source as a broken one
  image.decoding = "async";
  fetchers.set(image, async () => {
    try {
      const url = await imageUrl(path, query);
      image.addEventListener("load", () => { image.alt = alt; URL.revokeObjectURL(url); }, { once: true });
      image.src = url;
    } catch {
      image.classList.add("missing");
    }
  });
  watcher ??= new IntersectionObserver(fetchVisible, { rootMargin: MARGIN });
  watcher.observe(image);
  return image;
}

function fetchVisible(entries) {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    watcher.unobserve(target);
    fetchers.get(target)();
  }
}
