// Rectangles, ellipses and brush strokes as polygons in fractions of an image.

import { rounded } from "./polygon.js";

const CORNERS = 32; // of an ellipse
const LONGEST = 512; // cells along an image's longer side, in which a stroke is followed
const TOLERANCE = 1.2; // cells by which its outline may be simplified
const FEWEST = 3;

/** The rectangle between two opposite corners. */
export function rectangle([x0, y0], [x1, y1]) {
  return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(inside);
}

/** The ellipse that fills the rectangle between two opposite corners. */
export function ellipse([x0, y0], [x1, y1]) {
  return Array.from({ length: CORNERS }, (_, index) => {
    const angle = (2 * Math.PI * index) / CORNERS;
    return inside([(x0 + x1 + (x1 - x0) * Math.cos(angle)) / 2, (y0 + y1 + (y1 - y0) * Math.sin(angle)) / 2]);
  });
}

/**
 * The outline of a brush stroke along `points`; `width`: of the brush, in fractions of the longer side of an image of
 * `size` { width, height }. What the stroke encloses is left out, along a slit of no width.
 */
export function stroke(points, width, size) {
  const scale = LONGEST / Math.max(size.width, size.height);
  const grid = { columns: Math.max(1, Math.round(size.width * scale)), rows: Math.max(1, Math.round(size.height * scale)) };
  const path = points.map(([x, y]) => [x * grid.columns, y * grid.rows]);
  const painted = paint(path, (width * LONGEST) / 2, grid);
  const [outer, ...holes] = outlines(painted, grid).map((outline) => simplified(outline, TOLERANCE)).filter(({ length }) => length >= FEWEST)
    .sort((one, other) => Math.abs(area(other)) - Math.abs(area(one)));
  if (outer === undefined) return null;
  return holes.reduce(cutOut, outer).map(([x, y]) => inside([x / grid.columns, y / grid.rows]));
}

/** A polygon with at most so many corners more than it needs: no point of it moves by more than `tolerance`. */
export function simplified(polygon, tolerance) {
  const farthest = polygon.reduce((best, point, index) => (apart(point, polygon[0]) > apart(polygon[best], polygon[0]) ? index : best), 0);
  const halves = [polygon.slice(0, farthest + 1), [...polygon.slice(farthest), polygon[0]]];
  return halves.flatMap((line) => straightened(line, tolerance).slice(0, -1)); // Douglas and Peucker
}

function straightened(line, tolerance) {
  const [first, last] = [line[0], line.at(-1)];
  let [most, at] = [0, 0];
  for (let index = 1; index < line.length - 1; index += 1) {
    const distance = fromSegment(line[index], first, last);
    if (distance > most) [most, at] = [distance, index];
  }
  if (most <= tolerance) return [first, last];
  return [...straightened(line.slice(0, at + 1), tolerance).slice(0, -1), ...straightened(line.slice(at), tolerance)];
}

/** The cells whose centre is at most `radius` from a path, as a Set of row × columns + column. */
function paint(path, radius, { columns, rows }) {
  const cells = new Set();
  path.forEach((to, index) => {
    const from = path[Math.max(0, index - 1)];
    const [left, right] = [Math.min(from[0], to[0]) - radius, Math.max(from[0], to[0]) + radius];
    const [top, bottom] = [Math.min(from[1], to[1]) - radius, Math.max(from[1], to[1]) + radius];
    for (let row = Math.max(0, Math.floor(top)); row < Math.min(rows, Math.ceil(bottom)); row += 1) {
      for (let column = Math.max(0, Math.floor(left)); column < Math.min(columns, Math.ceil(right)); column += 1) {
        if (fromSegment([column + 0.5, row + 0.5], from, to) <= radius) cells.add(row * columns + column);
      }
    }
  });
  return cells;
}

/** The closed lines between cells that are in a set and others: corners of cells, what is painted on the right. */
function outlines(cells, { columns, rows }) {
  const painted = (column, row) => column >= 0 && row >= 0 && column < columns && row < rows && cells.has(row * columns + column);
  const edges = new Map(); // where an edge begins → where edges from there end
  const edge = (from, to) => edges.set(`${from}`, [...(edges.get(`${from}`) ?? []), to]);
  for (const cell of cells) {
    const [column, row] = [cell % columns, Math.floor(cell / columns)];
    if (!painted(column, row - 1)) edge([column, row], [column + 1, row]);
    if (!painted(column + 1, row)) edge([column + 1, row], [column + 1, row + 1]);
    if (!painted(column, row + 1)) edge([column + 1, row + 1], [column, row + 1]);
    if (!painted(column - 1, row)) edge([column, row + 1], [column, row]);
  }
  const lines = [];
  for (const start of edges.keys()) {
    while (edges.get(start).length) {
      const line = [];
      for (let at = start; edges.get(at).length; at = `${line.at(-1)}`) line.push(edges.get(at).pop());
      lines.push(line);
    }
  }
  return lines;
}

/** A polygon without another that lies in it: both joined where they are nearest. */
function cutOut(outer, hole) {
  let nearest = { distance: Infinity };
  outer.forEach((corner, at) => hole.forEach((other, start) => {
    const distance = apart(corner, other);
    if (distance < nearest.distance) nearest = { distance, at, start };
  }));
  const { at, start } = nearest;
  return [...outer.slice(0, at + 1), ...hole.slice(start), ...hole.slice(0, start + 1), ...outer.slice(at)];
}

function area(polygon) {
  return polygon.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = polygon[(index + 1) % polygon.length];
    return sum + x * nextY - nextX * y;
  }, 0) / 2;
}

function fromSegment([x, y], [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length));
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}

function apart([x0, y0], [x1, y1]) {
  return Math.hypot(x1 - x0, y1 - y0);
}

function inside(corner) {
  return corner.map((value) => rounded(Math.min(1, Math.max(0, value))));
}
