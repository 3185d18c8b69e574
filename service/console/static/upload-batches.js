// How files are shared out among requests that the service takes, and which failures of a request one file may be the reason of.

const BATCH = { images: 8, bytes: 48e6 }; // of one request: small, so that progress shows and a slow line keeps up
const FORM_BYTES = 64e3; // of a request beside its images, at most
// Problems that one image may be the reason of, and those of them that are the service's last word on it.
export const REFUSALS = new Set(["request-too-large", "image-rejected", "image-too-large", "unsupported-format", "other-proportions"]);
export const ONE_AT_FAULT = new Set([...REFUSALS, "unreachable", "internal"]);

/**
 * How many of the rows, from the first on, one request takes: of files that the service's `limits` allow together, to be
 * screened alike. A file that is too large by itself counts as one.
 */
export function batchLength(rows, limits) {
  const maxImages = Math.min(BATCH.images, limits.max_images);
  const maxBytes = Math.min(BATCH.bytes, limits.max_request_bytes - FORM_BYTES);
  let [length, size] = [0, 0];
  for (const { file, refuse } of rows) {
    size += file.size;
    if (length > 0 && (length === maxImages || size > maxBytes || refuse !== rows[0].refuse)) break;
    length += 1;
  }
  return length;
}

/** Whether a file can be read: not one that was deleted since it was chosen, and no folder. */
export function readable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}
