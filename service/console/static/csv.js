// Writes CSV that spreadsheets read and do not run.

/** A table as CSV: `columns` are its headings, `rows` lists of texts, numbers or null. */
export function csvText(columns, rows) {
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** A quote mark before what begins like a formula keeps it text. */
function cell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
