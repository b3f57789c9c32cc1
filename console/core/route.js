// SPDX-License-Identifier: Apache-2.0
// What is looked at stands in the fragment of the URL, so that it can be sent to a colleague and found again with
// "back". The fragment, not the query: a browser never sends it, so no log of any proxy has a user's id in it.

export const VIEWS = ["sale", "control", "ask", "audit", "rankings"];
const NAME = /^[a-z_]{1,32}$/;

/** "#/sale/summer?range=1h" -> {view, id, filters}; what cannot be read is the first view. */
export function parseRoute(fragment) {
  const [path, search = ""] = String(fragment ?? "").replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = path.split("/");
  if (!VIEWS.includes(view)) return { view: VIEWS[0], id: "", filters: {} };
  const filters = {};
  for (const [name, value] of new URLSearchParams(search)) if (NAME.test(name) && value !== "") filters[name] = value;
  return { view, id: decode(rest.join("/")), filters };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // a % that belongs to nothing
  }
}

/** The other way. Filters in the order of their names: one state has one URL. */
export function formatRoute({ view, id = "", filters = {} }) {
  const given = Object.entries(filters)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const path = id ? `#/${view}/${encodeURIComponent(id)}` : `#/${view}`;
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}
