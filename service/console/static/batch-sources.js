// Lists the files of what was dropped or chosen: single ones, those in folders, and those in ZIP archives.

import { ZipError, zipEntries } from "./zip.js";
import { t } from "./i18n.js";

/**
 * Every file in what was dropped, in order: { name, size in bytes or null, read() → its File }. `read` throws an Error
 * whose message is the reason for the reader; so does one that stands for a folder or an archive that cannot be listed.
 * Nothing is read yet but directories. `entries`: of a drop, where the browser tells folders by them.
 */
export async function sourcesOf(files, entries = []) {
  const folders = entries.some((entry) => entry.isDirectory);
  const plain = folders ? (await Promise.all(entries.map(inEntry))).flat()
    : files.map((file) => known(file.webkitRelativePath || file.name, file));
  return (await Promise.all(plain.map(unpacked))).flat();
}

/** Whether a file is a ZIP archive, by its name. */
export function isArchive({ name }) {
  return name.toLowerCase().endsWith(".zip");
}

function known(name, file) {
  const read = async () => {
    try {
      await file.slice(0, 1).arrayBuffer(); // which fails here rather than within a request that seems unanswered
    } catch {
      throw new Error(t("onboard.unreadable"));
    }
    return file;
  };
  return { name, size: file.size, read };
}

function refused(name, reason) {
  return { name, size: null, read: () => Promise.reject(new Error(reason)) };
}

async function inEntry(entry) {
  const name = entry.fullPath.replace(/^\//, "");
  try {
    if (entry.isFile) return [known(name, await new Promise((resolve, reject) => entry.file(resolve, reject)))];
    const reader = entry.createReader();
    const inside = [];
    for (;;) { // it tells some at a time
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) break;
      inside.push(...some);
    }
    inside.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
    return (await Promise.all(inside.map(inEntry))).flat();
  } catch {
    return [refused(name, t("onboard.unreadable"))];
  }
}

/** What is in a ZIP archive, in the place of the archive. */
async function unpacked(source) {
  if (!isArchive(source)) return [source];
  try {
    const entries = await zipEntries(await source.read());
    if (entries.length === 0) return [refused(source.name, t("batch.zip.empty"))];
    return entries.map(({ name, size, read }) => ({
      name: `${source.name}/${name}`, size,
      read: () => read().catch((error) => { throw new Error(reasonOf(error)); }),
    }));
  } catch (error) {
    return [refused(source.name, reasonOf(error))];
  }
}

function reasonOf(error) {
  return error instanceof ZipError ? t(`batch.zip.${error.reason}`) : t("onboard.unreadable"); // the archive itself
}
