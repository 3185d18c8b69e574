// Polygons in fractions of an image, as an editor changes them: no corner leaves the image.

const DIGITS = 1e5; // to which coordinates are rounded, so that what is saved compares equal to what is drawn

/** Polygons that share nothing with these. */
export function copied(polygons) {
  return polygons.map((polygon) => polygon.map(([x, y]) => [x, y]));
}

/** A polygon moved as a whole, as far as the image's edges allow. */
export function moved(polygon, delta) {
  const allowed = delta.map((distance, axis) => {
    const values = polygon.map((corner) => corner[axis]);
    return Math.max(-Math.min(...values), Math.min(1 - Math.max(...values), distance));
  });
  return polygon.map((corner) => corner.map((value, axis) => rounded(value + allowed[axis])));
}

/** A polygon with one corner moved, to the image's edge at most. */
export function withCornerMoved(polygon, index, delta) {
  return polygon.map((corner, position) =>
    (position === index ? corner.map((value, axis) => rounded(Math.min(1, Math.max(0, value + delta[axis])))) : corner));
}

/** A polygon with one corner less. */
export function withoutCorner(polygon, index) {
  return polygon.toSpliced(index, 1);
}

/** A polygon with a corner more, in the middle of the edge that begins at a corner. */
export function withEdgeSplit(polygon, index) {
  return polygon.toSpliced(index + 1, 0, middle(polygon, index).map(rounded));
}

/** The middle of the edge that begins at a corner. */
export function middle(polygon, index) {
  const next = polygon[(index + 1) % polygon.length];
  return polygon[index].map((value, axis) => (value + next[axis]) / 2);
}

/** A coordinate as it is saved. */
export function rounded(value) {
  return Math.round(value * DIGITS) / DIGITS;
}
