// Where the dots of single inspections stand in a chart of scores over time.

/**
 * A dot { inspection, x, y } for each of the inspections, which come newest first, oldest first: x in seconds since 1970, y its score. Where they
 * are `mixed`, of several products: its score in terms of its own threshold, without those that had none.
 */
export function dotsOf(inspections, mixed) {
  const dots = inspections.map((inspection) => {
    const { at, score, threshold } = inspection;
    return { inspection, x: Date.parse(at) / 1000, y: mixed ? (threshold ? score / threshold : null) : score };
  });
  return dots.filter(({ y }) => y !== null).reverse().sort((one, other) => one.x - other.x); // of one request all have one time
}

/** The points of the line that dots are compared with: 1 for several products, else each one's threshold of its time. */
export function thresholdPoints(dots, mixed, from, to) {
  if (mixed) return [[from, 1], [to, 1]];
  const points = dots.map(({ x, inspection }) => [x, inspection.threshold]);
  return points.length === 0 ? [] : [[from, points[0][1]], ...points, [to, points.at(-1)[1]]];
}

/** The nearest of points [x, y] within a distance of another, as its index; -1 if there is none. */
export function nearest(points, [x, y], distance) {
  const away = points.map(([left, top]) => Math.hypot(left - x, top - y));
  const index = away.indexOf(Math.min(...away));
  return index >= 0 && away[index] <= distance ? index : -1;
}
