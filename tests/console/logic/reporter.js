// Reports every case as a line of JSON: its file, its name, and why it failed.

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const error = data.details.error;
    yield `${JSON.stringify({ file: data.file, name: data.name, error: error ? String(error.cause?.stack ?? error.message) : null })}\n`;
  }
}
