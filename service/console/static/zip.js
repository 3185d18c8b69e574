// Reads a ZIP archive a file at a time, of whatever size it is: of the archive itself only its directory is in memory.
// The format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5; the browser inflates.

const END = { signature: 0x06054b50, size: 22 };
const END_64 = { signature: 0x06064b50, size: 56 };
const LOCATOR_64 = { signature: 0x07064b50, size: 20 };
const ENTRY = { signature: 0x02014b50, size: 46 };
const LOCAL = { signature: 0x04034b50, size: 30 };
const LONGEST_COMMENT = 0xffff;
const [STORED, DEFLATED] = [0, 8];
const IS_ENCRYPTED = 1;
const IS_UTF8 = 1 << 11;
const CRCS = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? 0xedb88320 ^ (byte >>> 1) : byte >>> 1;
  return byte;
});

/** Why an archive or a file in it cannot be read: `reason` is one of damaged, encrypted, method. */
export class ZipError extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/**
 * The files of an archive in its directory's order: { name, size in bytes, read() → its File }. Folders are left out.
 * Throws ZipError where it has no readable directory; `read` throws it where the file is damaged or not what it says.
 */
export async function zipEntries(archive) {
  try {
    return await listed(archive);
  } catch (error) {
    throw error instanceof RangeError ? new ZipError("damaged") : error; // a length that leads out of the directory
  }
}

async function listed(archive) {
  const { offset, size, count } = await directory(archive);
  const view = await bytesOf(archive, offset, size);
  const entries = [];
  for (let at = 0, index = 0; index < count; index += 1) {
    if (at + ENTRY.size > view.byteLength || view.getUint32(at, true) !== ENTRY.signature) throw new ZipError("damaged");
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    const name = text(view, at + ENTRY.size, nameLength, view.getUint16(at + 8, true) & IS_UTF8);
    const found = {
      encrypted: view.getUint16(at + 8, true) & IS_ENCRYPTED, method: view.getUint16(at + 10, true), crc: view.getUint32(at + 16, true),
      packed: view.getUint32(at + 20, true), size: view.getUint32(at + 24, true), offset: view.getUint32(at + 42, true),
    };
    widen(found, view, at + ENTRY.size + nameLength, extraLength);
    if (!name.endsWith("/")) entries.push({ name, size: found.size, read: () => fileOf(archive, name, found) });
    at += ENTRY.size + nameLength + extraLength + commentLength;
  }
  return entries;
}

/** Where the directory is: by the last record of the archive, which a comment may follow. */
async function directory(archive) {
  const start = Math.max(0, archive.size - END.size - LONGEST_COMMENT);
  const tail = await bytesOf(archive, start, archive.size - start);
  let at = tail.byteLength - END.size;
  while (at >= 0 && tail.getUint32(at, true) !== END.signature) at -= 1;
  if (at < 0) throw new ZipError("damaged");
  const end = { count: tail.getUint16(at + 10, true), size: tail.getUint32(at + 12, true), offset: tail.getUint32(at + 16, true) };
  const locator = at - LOCATOR_64.size;
  if (locator < 0 || tail.getUint32(locator, true) !== LOCATOR_64.signature) return end;
  const wide = await bytesOf(archive, Number(tail.getBigUint64(locator + 8, true)), END_64.size);
  if (wide.getUint32(0, true) !== END_64.signature) throw new ZipError("damaged");
  const [count, size, offset] = [32, 40, 48].map((field) => Number(wide.getBigUint64(field, true)));
  return { count, size, offset };
}

/** Sizes and offset that do not fit into 32 bits stand in an extra field (ZIP64), in this order, each only if needed. */
function widen(found, view, at, length) {
  for (let field = at; field + 4 <= at + length; field += 4 + view.getUint16(field + 2, true)) {
    if (view.getUint16(field, true) !== 1) continue;
    let value = field + 4;
    for (const name of ["size", "packed", "offset"]) {
      if (found[name] !== 0xffffffff) continue;
      found[name] = Number(view.getBigUint64(value, true));
      value += 8;
    }
  }
}

async function fileOf(archive, name, { encrypted, method, crc, packed, size, offset }) {
  if (encrypted) throw new ZipError("encrypted");
  if (method !== STORED && method !== DEFLATED) throw new ZipError("method");
  const header = await bytesOf(archive, offset, LOCAL.size);
  if (header.getUint32(0, true) !== LOCAL.signature) throw new ZipError("damaged");
  const start = offset + LOCAL.size + header.getUint16(26, true) + header.getUint16(28, true);
  const data = archive.slice(start, start + packed);
  const stream = method === STORED ? data.stream() : data.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const parts = [];
  let [read, sum] = [0, 0xffffffff];
  const reader = stream.getReader();
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      read += value.length;
      if (read > size) throw new ZipError("damaged"); // more than it says: perhaps without end
      for (const byte of value) sum = CRCS[(sum ^ byte) & 0xff] ^ (sum >>> 8);
      parts.push(value);
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    throw error instanceof ZipError ? error : new ZipError("damaged");
  }
  if (read !== size || (sum ^ 0xffffffff) >>> 0 !== crc) throw new ZipError("damaged");
  return new File(parts, name);
}

async function bytesOf(archive, start, length) {
  const buffer = await archive.slice(start, start + length).arrayBuffer();
  if (buffer.byteLength < length) throw new ZipError("damaged");
  return new DataView(buffer);
}

/** A name: in UTF-8 where it says so or is so, else as Western Windows writes it. */
function text(view, at, length, isUtf8) {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + at, length);
  try {
    return new TextDecoder("utf-8", { fatal: !isUtf8 }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}
