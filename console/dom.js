// SPDX-License-Identifier: Apache-2.0
// Brings the document into the shape of a tree, changing what differs and nothing else: who is typing goes on typing,
// and what has the focus keeps it. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";
const held = new WeakMap(); // element -> {node, listeners}
const PROPERTIES = new Set(["value", "checked", "open"]); // what the user changes in the element itself

const isText = (node) => typeof node !== "object";

function create(node, parent) {
  if (isText(node)) return document.createTextNode(String(node));
  const svg = node.tag === "svg" || (parent?.namespaceURI === SVG && parent.localName !== "foreignObject");
  const element = svg ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag);
  held.set(element, { node: { tag: node.tag, attributes: {}, on: {}, children: [] }, listeners: new Set() });
  return element;
}

function setAttributes(element, before, after) {
  for (const name of Object.keys(before)) if (!(name in after) && !PROPERTIES.has(name)) element.removeAttribute(name);
  for (const [name, value] of Object.entries(after)) {
    if (PROPERTIES.has(name)) {
      if (element[name] !== value) element[name] = value;
    } else if (value === undefined || value === null || value === false) {
      element.removeAttribute(name);
    } else if (before[name] !== value) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

// One listener for each kind of event of an element, for ever; what it does is looked up when it happens.
function setListeners(element, state, on) {
  for (const type of Object.keys(on)) {
    if (state.listeners.has(type)) continue;
    state.listeners.add(type);
    element.addEventListener(type, (event) => held.get(element).node.on[type]?.(event));
  }
}

function matches(child, node) {
  if (isText(node)) return child.nodeType === 3;
  const state = held.get(child);
  return state !== undefined && state.node.tag === node.tag && state.node.key === node.key;
}

/** The children of `parent` become `nodes`, in order. */
export function patchChildren(parent, nodes) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    const key = held.get(child)?.node.key;
    if (key !== undefined) keyed.set(key, child);
  }
  let at = parent.firstChild;
  for (const node of nodes) {
    let child = node.key === undefined ? undefined : keyed.get(node.key);
    if (child && !matches(child, node)) child = undefined;
    if (!child && node.key === undefined) {
      let candidate = at;
      // What has a key is kept for its own place.
      while (candidate && held.get(candidate)?.node.key !== undefined) candidate = candidate.nextSibling;
      if (candidate && matches(candidate, node)) child = candidate;
    }
    child ??= create(node, parent);
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
    patch(child, node);
  }
  while (at) {
    const next = at.nextSibling;
    parent.removeChild(at);
    at = next;
  }
}

function patch(child, node) {
  if (isText(node)) {
    if (child.data !== String(node)) child.data = String(node);
    return;
  }
  const state = held.get(child);
  const before = state.node;
  state.node = node;
  setListeners(child, state, node.on);
  patchChildren(child, node.children);
  setAttributes(child, before.attributes, node.attributes); // after the children: a select's value is one of its options
}
