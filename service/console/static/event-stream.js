// Reads server-sent events from the text of a response: EventSource, which the browser has for it, cannot send a key.

/** The events named `name` as objects of their fields, such as { id, event, data }; `texts` may break anywhere. */
export async function* events(texts, name) {
  let text = "";
  for await (const more of texts) {
    text += more;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map(field));
      if (fields.event === name) yield fields;
    }
  }
}

function field(line) {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
