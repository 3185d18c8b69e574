// A tone that this computer makes, if the reader wants it.

import { h } from "./dom.js";

const KEPT = "touchstone-sound";
const [HERTZ, SECONDS, LOUDNESS] = [880, 0.4, 0.25];

/** A box that says whether it is wanted, kept for this computer, and `ring()`, which does nothing unless it is. */
export function alarm() {
  const element = h("input", { type: "checkbox", id: "sound", checked: localStorage.getItem(KEPT) !== null,
    onchange: () => {
      if (element.checked) localStorage.setItem(KEPT, "1");
      else localStorage.removeItem(KEPT);
      if (element.checked) ring();
    } });
  let audio = null; // browsers give none a voice before the reader has touched the page

  function ring() {
    if (!element.checked) return;
    audio ??= new AudioContext();
    audio.resume();
    const tone = new OscillatorNode(audio, { type: "square", frequency: HERTZ });
    tone.connect(new GainNode(audio, { gain: LOUDNESS })).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + SECONDS);
  }

  return { element, ring };
}
