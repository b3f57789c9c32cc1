// SPDX-License-Identifier: Apache-2.0
// patchChildren against as much of a document as it uses.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { patchChildren } from "../dom.js";
import { findAll, h, textOf } from "../h.js";
import { Document } from "./document.js";

const page = (globalThis.document = new Document());
const show = (node) => (node.nodeType === 3 ? node.data : `<${node.localName}>${node.childNodes.map(show).join("")}`);

let root;
beforeEach(() => {
  root = page.createElement("main");
});

test("what did not change is not touched", () => {
  const tree = () => [h("p", { class: "a", title: "t" }, "one ", 2), h("svg", {}, h("path", { d: "M0 0" }))];
  patchChildren(root, tree());
  assert.equal(root.childNodes.map(show).join(""), "<p>one 2<svg><path>");
  assert.equal(root.childNodes[1].childNodes[0].namespaceURI, "http://www.w3.org/2000/svg");
  const [p] = root.childNodes;
  const [before, writes] = [page.made, p.writes];
  patchChildren(root, tree());
  assert.deepEqual([page.made, p.writes, root.childNodes[0] === p], [before, writes, true]);
  patchChildren(root, [h("p", { class: "b" }, "one ", 3)]);
  assert.equal(root.childNodes.map(show).join(""), "<p>one 3");
  assert.deepEqual(p.attributes, { class: "b" });
});

test("an element with a key stays the same one wherever it goes", () => {
  const rows = (...keys) => keys.map((key) => h("li", { key }, key));
  patchChildren(root, rows("a", "b", "c", "d"));
  const was = Object.fromEntries(root.childNodes.map((child) => [child.childNodes[0].data, child]));
  for (const keys of [["d", "c", "b", "a"], ["a", "x", "c"], ["c", "a"], [], ["b", "a", "d", "c"]]) {
    patchChildren(root, rows(...keys));
    assert.deepEqual(root.childNodes.map((child) => child.childNodes[0].data), keys);
  }
  patchChildren(root, rows("c", "a"));
  const [c, a] = root.childNodes;
  patchChildren(root, [h("p", {}, "new"), ...rows("a", "c")]);
  assert.deepEqual([root.childNodes[1] === a, root.childNodes[2] === c, was.a !== a], [true, true, true]);
});

test("what the user typed is written only where it differs, and a listener is there once", () => {
  const clicks = [];
  const field = (value, name) => [h("input", { value, on: { input: () => clicks.push(name) } })];
  patchChildren(root, field("a", "first"));
  const [input] = root.childNodes;
  let sets = 0;
  let typed = input.value;
  Object.defineProperty(input, "value", { get: () => typed, set: (value) => (sets++, (typed = value)) });
  patchChildren(root, field("a", "second"));
  assert.equal(sets, 0);
  patchChildren(root, field("b", "third"));
  assert.deepEqual([sets, typed], [1, "b"]);
  assert.equal(input.listened.input, 1);
  input.dispatchEvent(new Event("input"));
  assert.deepEqual(clicks, ["third"]);
});

test("nothing that is not there is drawn", () => {
  const tree = h("p", null, null, undefined, false, 0, ["a", ["b"]]);
  assert.deepEqual(tree.children, [0, "a", "b"]);
  assert.equal(textOf([tree, h("b", {}, "c")]), "0 a b c");
  assert.equal(findAll(h("div", {}, h("b"), h("p", {}, h("b"))), (node) => node.tag === "b").length, 2);
});
