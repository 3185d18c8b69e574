// Shows over an image which part of it is inspected: the rest is dimmed, and regions of interest are outlined.

import { s } from "./dom.js";

let masks = 0; // made so far, each with a name of its own

/**
 * SVG elements for an image of `size` { width, height } in its own pixels. `inspected`, as the API has it: `polygon` is what
 * the geometry shows, `region` null or { polygons, ignored }, all in fractions of the image. Nothing where all is inspected.
 */
export function inspectedArea({ fraction, polygon, region }, size) {
  if (fraction === 1) return [];
  const { width, height } = size;
  const name = `beyond-${++masks}`;
  const { polygons, ignored } = region ?? { polygons: [], ignored: [] };
  const filled = (corners, fill) => s("path", { d: outline(corners, size), fill });
  const whole = `M0 0H${width}V${height}H0z`;
  return [
    s("mask", { id: name, maskUnits: "userSpaceOnUse", x: 0, y: 0, width, height }, // what is white stays dimmed
      s("path", { d: whole, fill: "white" }),
      (polygons.length ? polygons : [polygon]).map((corners) => filled(corners, "black")),
      ignored.map((corners) => filled(corners, "white")),
      s("path", { d: whole + outline(polygon, size), "fill-rule": "evenodd", fill: "white" })),
    s("path", { class: "outside", d: whole, mask: `url(#${name})` }),
    polygons.map((corners) => s("path", { class: "roi", d: outline(corners, size) })),
    ignored.map((corners) => s("path", { class: "roi ignored", d: outline(corners, size) })),
  ].flat();
}

/** A polygon in fractions of an image as the `d` of a path in its pixels. */
export function outline(polygon, { width, height }) {
  return `M${polygon.map(([x, y]) => `${x * width} ${y * height}`).join("L")}z`;
}
