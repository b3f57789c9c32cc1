// SPDX-License-Identifier: Apache-2.0
// What a page must have so that everybody can use it, computed in the page: names, contrast, landmarks, headings, references, focus.
// It runs in the browser, so it is one function that uses nothing from around it.

/** What is wrong in the document, a sentence each; none: nothing. */
export function faultsOfPage() {
  const faults = [];
  const says = (element) => `${element.localName}${element.id ? `#${element.id}` : ""}.${element.getAttribute("class") ?? ""} "${(element.textContent ?? "").trim().slice(0, 30)}"`;
  const seen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getClientRects().length > 0;
  const dialog = document.querySelector("dialog[open]");
  const root = dialog ?? document.body; // the rest is inert behind an open dialog
  const all = (css) => [...root.querySelectorAll(css)].filter(seen);

  const nameOf = (element) => {
    const by = element.getAttribute("aria-labelledby");
    const texts = [element.getAttribute("aria-label"), by && document.getElementById(by)?.textContent, ...[...(element.labels ?? [])].map((label) => label.textContent), element.textContent, element.title];
    return texts.map((text) => text?.trim()).find(Boolean);
  };
  for (const element of all("a[href], button, input, select, textarea, [role=region], [role=group], [role=img], nav, summary")) if (!nameOf(element)) faults.push(`no name: ${says(element)}`);
  for (const element of all("input, select, textarea")) if (!element.labels?.length && !element.getAttribute("aria-label")) faults.push(`no label: ${says(element)}`);
  if (dialog && !nameOf(dialog)) faults.push("the dialog has no name");

  // --- contrast (WCAG 1.4.3): text on the nearest ground that is painted ---
  const channels = (color) => (/rgba?\(([^)]+)\)/.exec(color)?.[1] ?? "").split(/[\s,/]+/).map(Number);
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((one) => (one / 255 <= 0.03928 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const groundOf = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const contrast = (text, ground) => {
    const [low, high] = [light(text), light(ground)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  for (const element of all("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!own || element.closest(":disabled, .hidden, option")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const color = element.ownerSVGElement ? style.fill : style.color;
    const is = contrast(channels(color), groundOf(element.ownerSVGElement?.parentElement ?? element));
    if (is < (large ? 3 : 4.5)) faults.push(`contrast ${is.toFixed(2)}: ${says(element)}`);
  }

  // --- landmarks and headings ---
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  if (!document.querySelector("header")) faults.push("no header");
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  let level = 0;
  for (const heading of dialog ? [] : document.body.querySelectorAll("main :is(h1, h2, h3, h4, h5, h6)")) {
    const next = Number(heading.localName[1]);
    if (next > level + 1) faults.push(`heading ${level} is followed by ${next}: ${says(heading)}`);
    level = next;
  }
  if (!dialog && document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (document.querySelector("nav") && !document.querySelector('[role="status"], [aria-live]')) faults.push("nothing is told to who cannot see it");
  for (const table of all("table")) if ([...table.querySelectorAll("th")].some((one) => !one.scope) || !table.caption) faults.push(`a table without caption or scope: ${says(table)}`);

  // --- references and ids ---
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids.filter((one, at) => ids.indexOf(one) !== at))) faults.push(`two have the id ${id}`);
  for (const name of ["aria-describedby", "aria-labelledby", "for"])
    for (const element of all(`[${name}]`)) for (const id of element.getAttribute(name).split(/\s+/)) if (!document.getElementById(id)) faults.push(`${name} of ${says(element)} leads nowhere: ${id}`);

  // --- focus and touch ---
  for (const element of document.querySelectorAll("[tabindex]")) if (element.tabIndex > 0) faults.push(`an order of its own: ${says(element)}`);
  for (const element of all("button, select, input:not([type=checkbox])")) {
    const { width, height } = element.getBoundingClientRect();
    if (width < 24 || height < 24) faults.push(`too small to touch, ${Math.round(width)}x${Math.round(height)}: ${says(element)}`);
  }
  return faults;
}

/** Puts one of each fault into the page: a check that cannot see them would be none. */
export function spoilPage() {
  const main = document.querySelector("main");
  const add = (tag, attributes, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    main.append(element);
    return element;
  };
  add("button", { id: "spoilt" }).style.cssText = "width: 10px; height: 10px; padding: 0; min-height: 0";
  add("p", { id: "spoilt" }, "grey on grey").style.cssText = "color: rgb(150, 150, 150); background-color: rgb(170, 170, 170)";
  add("input", { "aria-describedby": "nowhere" });
  add("h6", {}, "too deep");
  add("a", { href: "#x", tabindex: "5" }, "first");
  add("main", {});
}
