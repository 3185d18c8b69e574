// Where an image lies that is zoomed and moved behind a frame: { scale, x, y }, in pixels of the frame.

const MAX_SCALE = 16;

export const WHOLE = { scale: 1, x: 0, y: 0 };

/** Zoomed by a factor, so that what lies at `x`, `y` of the frame stays there. `frame`: its { width, height }. */
export function zoomed(view, factor, { x, y }, frame) {
  const scale = Math.min(MAX_SCALE, Math.max(1, view.scale * factor));
  const ratio = scale / view.scale;
  return within({ scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio }, frame);
}

/** Moved by so many pixels. */
export function panned(view, dx, dy, frame) {
  return within({ ...view, x: view.x + dx, y: view.y + dy }, frame);
}

/** The nearest view that leaves no part of the frame empty. */
function within({ scale, x, y }, { width, height }) {
  return { scale, x: Math.min(0, Math.max(width * (1 - scale), x)), y: Math.min(0, Math.max(height * (1 - scale), y)) };
}
