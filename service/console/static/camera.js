// Takes an image with this computer's or tablet's camera.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/** Whether a browser may use a camera here: it wants https, or this very machine. */
export function hasCamera() {
  return navigator.mediaDevices?.getUserMedia !== undefined;
}

/** An image as a PNG file, or null when none was taken. Throws what getUserMedia does. */
export async function capturePhoto() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 }, facingMode: "environment" } });
  const video = h("video", { autoplay: true, playsinline: true, muted: true, "aria-label": t("camera.view") });
  video.srcObject = stream;
  const take = h("button", { class: "primary", value: "take", disabled: true }, t("camera.take"));
  video.addEventListener("playing", () => { take.disabled = false; take.focus(); }, { once: true });
  const dialog = h("dialog", { class: "dialog wide", "aria-labelledby": "camera-title" },
    h("h2", { id: "camera-title" }, t("camera.title")), video,
    h("form", { method: "dialog", class: "actions" }, take, h("button", { value: "" }, t("shell.cancel"))));
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  let file = null;
  if (dialog.returnValue === "take") {
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    file = new File([blob], `camera-${new Date().toISOString().replaceAll(":", "")}.png`, { type: "image/png" });
  }
  for (const track of stream.getTracks()) track.stop();
  dialog.remove();
  return file;
}
