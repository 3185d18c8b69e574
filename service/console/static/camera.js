// Takes an image with this computer's or tablet's camera.

import { h } from "./dom.js";
import { tell } from "./toasts.js";
import { t } from "./i18n.js";

/** Whether a browser may use a camera here: it wants https, or this very machine. */
function hasCamera() {
  return navigator.mediaDevices?.getUserMedia !== undefined;
}

/** A button that takes an image and calls `take(file)`; null where there is no camera to be used. */
export function cameraButton(take) {
  if (!hasCamera()) return null;
  return h("button", { onclick: () => takePhoto(take) }, t("inspect.camera"));
}

/** Call `take(file)` with an image from the camera, unless none was taken; says why a camera cannot be used. */
export async function takePhoto(take) {
  let file;
  try {
    file = await capturePhoto();
  } catch (error) {
    tell(t("camera.refused", { reason: error.message }));
    return;
  }
  if (file !== null) await take(file);
}

/** An image as a PNG file, or null when none was taken. Throws what getUserMedia does. */
async function capturePhoto() {
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
