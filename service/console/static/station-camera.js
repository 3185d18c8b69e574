// What a station's camera sees now, fetched again and again while somebody looks.

import { Problem, get, request } from "./api.js";
import { fill, h } from "./dom.js";
import { repeat } from "./loading.js";
import { number, t } from "./i18n.js";

const EVERY_MS = 500; // as often as an agent sends
const SEARCH_EVERY_MS = 10_000; // for a station that does not report, or has no camera
const STALE_S = 5; // from this age on, an image shows what was
const PATIENCE_MS = 10_000; // an agent learns within three seconds that somebody watches

/**
 * A panel that shows the camera of a station; hidden for a station that no agent reports. `remembered` is the name under
 * which this browser keeps whether it is open; `open` is what it is at first. Returns { element, show(station) }.
 */
export function stationCamera({ remembered, open, signal }) {
  const stored = `touchstone-camera-${remembered}`;
  const image = h("img", { decoding: "async" });
  const age = h("span", { class: "hint" });
  const notice = h("p", { class: "said", role: "status" });
  const element = h("details", { class: "card camera", hidden: true, open: (localStorage.getItem(stored) ?? String(open)) === "true" },
    h("summary", {}, t("camera.station"), " ", age), notice, image);
  element.addEventListener("toggle", () => localStorage.setItem(stored, String(element.open)));
  let showing = new AbortController();
  let newest = null; // { seconds, received }: how old the image was when it came
  let since = 0; // when it was first waited for; 0 while it is not
  signal.addEventListener("abort", () => showing.abort());

  return { element, show };

  function show(station) {
    showing.abort();
    showing = new AbortController();
    const mine = showing.signal;
    element.hidden = true;
    clear();
    if (station === undefined) return;
    image.alt = t("camera.of", { station });
    repeat(1000, () => describe(), mine);
    search(station, mine);
  }

  /** Look for the station's agent, until one reports a camera; then follow that. */
  async function search(station, mine) {
    while (!mine.aborted) {
      try {
        const { stations } = await get("/stations", {}, mine);
        const reported = stations.find(({ name }) => name === station);
        element.hidden = reported === undefined;
        if (reported?.sends_frames) await follow(station, mine);
        else say(t("camera.none"));
      } catch (error) {
        if (mine.aborted) return;
        clear();
        say(error instanceof Problem ? error.title : String(error));
      }
      await pause(SEARCH_EVERY_MS, mine);
    }
  }

  async function follow(station, mine) {
    while (!mine.aborted) {
      if (element.open && !document.hidden) {
        since ||= performance.now();
        await fetchFrame(station, mine);
      } else {
        clear();
      }
      await pause(EVERY_MS, mine);
    }
  }

  async function fetchFrame(station, mine) {
    const frame = await request("GET", `/stations/${encodeURIComponent(station)}/frame`, { signal: mine, read: readFrame });
    if (frame === null) {
      forget();
    } else {
      const url = URL.createObjectURL(frame.blob);
      image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
      image.src = url;
      newest = { seconds: frame.seconds, received: performance.now() };
    }
    describe();
  }

  function describe() {
    if (since === 0) return;
    if (newest === null) {
      say(t(performance.now() - since < PATIENCE_MS ? "camera.waiting" : "camera.silent"));
      return;
    }
    const seconds = newest.seconds + Math.floor((performance.now() - newest.received) / 1000);
    const stale = seconds >= STALE_S;
    fill(age, t("camera.age", { age: number(seconds) }));
    element.classList.toggle("stale", stale);
    say(stale ? t("camera.stale") : "");
  }

  function say(text) {
    if (notice.textContent !== text) fill(notice, text);
  }

  function forget() {
    if (newest !== null) since = performance.now();
    newest = null;
    image.removeAttribute("src");
    element.classList.remove("stale");
    fill(age);
  }

  /** As if nothing had been seen: whoever closes the panel does not watch. */
  function clear() {
    forget();
    since = 0;
    say("");
  }
}

async function readFrame(answer) {
  return answer.status === 204 ? null : { blob: await answer.blob(), seconds: Number(answer.headers.get("Age")) };
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
