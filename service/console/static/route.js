// What an address of the console names.

/**
 * The view, what follows its name, and the query of a fragment: `#/categories/bracket?new=1` → { name: "categories",
 * rest: ["bracket"], query }. `name` is `first` where the fragment names nothing, and "" where there is no such view.
 */
export function parseRoute(fragment, views, first) {
  const [path, query = ""] = fragment.replace(/^#\/?/, "").split("?");
  try {
    const [name, ...rest] = path.split("/").map(decodeURIComponent);
    return { name: name === "" ? first : views.includes(name) ? name : "", rest, query: new URLSearchParams(query) };
  } catch { // % and no number after it
    return { name: "", rest: [], query: new URLSearchParams() };
  }
}
