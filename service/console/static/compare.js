// Shows a place of the inspected image beside the same place of a reference.

import { imageUrl } from "./api.js";
import { h } from "./dom.js";
import { number, t } from "./i18n.js";

const SIDE = 480; // pixels of each canvas
const FULL = 2048;
const FEWEST_CELLS = 7; // a place is shown with at least so much around it

/** Where a stored patch lies: { x, y, width, height } in fractions of the image; null of what older releases kept. */
function patch({ box }) {
  if (box === null) return null;
  const [x, y, width, height] = box;
  return { x, y, width, height };
}

/** The image at a path of the API, decoded. */
export async function decoded(path, query, signal) {
  const image = new Image();
  image.src = await imageUrl(path, query, signal);
  try {
    await image.decode();
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return image;
}

/** Two figures: the region's place (or, without one, the whole image) in the part and in the reference. */
export async function comparison(part, inspection, region, referenceId, signal) {
  const reference = await decoded(`/references/${referenceId}/image`, { side: FULL }, signal);
  const { width, height } = inspection;
  const cell = region && region.nearest_patch.reference_id === referenceId ? patch(region.nearest_patch) : null;
  const frame = region ? frameAround(region, width, height) : { x: 0, y: 0, width: 1, height: 1 };
  const outline = region?.polygon.map(([x, y]) => [x / width, y / height]);
  const square = cell && [
    [cell.x, cell.y], [cell.x + cell.width, cell.y], [cell.x + cell.width, cell.y + cell.height], [cell.x, cell.y + cell.height],
  ];
  const shape = (frame.width * width) / (frame.height * height);
  return h("div", { class: "comparison" },
    figure(part, frame, shape, outline, t("compare.part")),
    figure(reference, frame, shape, square, t("compare.reference", { id: String(referenceId) })),
  );
}

/** What the evidence of a region says, in words. */
export function distance({ distance, layer }) {
  return t("compare.distance", { distance: number(distance, 3), layer });
}

/** What is shown of a place: { x, y, width, height } in fractions of the image, which it does not leave. */
export function frameAround({ box, nearest_patch: nearest }, width, height) {
  const cell = patch(nearest) ?? { width: 0, height: 0 };
  const side = Math.max(box[2] * 1.5, box[3] * 1.5, FEWEST_CELLS * cell.width * width, FEWEST_CELLS * cell.height * height);
  const [wide, high] = [Math.min(1, side / width), Math.min(1, side / height)];
  const x = (box[0] + box[2] / 2) / width - wide / 2;
  const y = (box[1] + box[3] / 2) / height - high / 2;
  return { x: Math.min(1 - wide, Math.max(0, x)), y: Math.min(1 - high, Math.max(0, y)), width: wide, height: high };
}

/** { width, height } of a canvas for what is `shape` times as wide as high: no side is longer than SIDE, nor is one 0. */
export function canvasSize(shape) {
  return { width: Math.max(1, Math.round(SIDE * Math.min(1, shape))), height: Math.max(1, Math.round(SIDE / Math.max(1, shape))) };
}

function figure(image, frame, shape, outline, caption) {
  const canvas = h("canvas", { ...canvasSize(shape), role: "img", "aria-label": caption });
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  const [across, down] = [image.naturalWidth, image.naturalHeight];
  pen.drawImage(image, frame.x * across, frame.y * down, frame.width * across, frame.height * down, 0, 0, canvas.width, canvas.height);
  if (outline) {
    pen.beginPath();
    for (const [x, y] of outline) {
      pen.lineTo(((x - frame.x) / frame.width) * canvas.width, ((y - frame.y) / frame.height) * canvas.height);
    }
    pen.closePath();
    for (const [width, colour] of [[5, "rgb(0 0 0 / 70%)"], [2, "#ffffff"]]) {
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.stroke();
    }
  }
  return h("figure", {}, canvas, h("figcaption", {}, caption));
}
