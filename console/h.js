// SPDX-License-Identifier: Apache-2.0
// A tree of elements as plain data, so that views are functions and can be tested without a document.

/**
 * h("button", {class, key, on: {click}, disabled, ...attributes}, ...children). Children: text, numbers, trees, lists of them;
 * null, undefined and false are nothing.
 */
export function h(tag, attributes, ...children) {
  const { key, on, ...rest } = attributes ?? {};
  return { tag, key, on: on ?? {}, attributes: rest, children: children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false && one !== true) };
}

/** All text of a tree, as a screen reader would find it. */
export function textOf(node) {
  if (Array.isArray(node)) return node.map(textOf).join(" ");
  if (typeof node !== "object" || node === null) return node === null || node === undefined || node === false ? "" : String(node);
  return node.children.map(textOf).join(" ");
}

/** Every element of a tree for which `wanted` is true. */
export function findAll(node, wanted) {
  if (Array.isArray(node)) return node.flatMap((one) => findAll(one, wanted));
  if (typeof node !== "object" || node === null) return [];
  return [...(wanted(node) ? [node] : []), ...findAll(node.children, wanted)];
}
