// SPDX-License-Identifier: Apache-2.0
// As much of a document as the console uses, for tests without a browser.

class Node extends EventTarget {
  childNodes = [];
  parent = null;
  get firstChild() {
    return this.childNodes[0] ?? null;
  }
  get nextSibling() {
    return this.parent.childNodes[this.parent.childNodes.indexOf(this) + 1] ?? null;
  }
  insertBefore(child, at) {
    child.parent?.removeChild(child);
    const index = at ? this.childNodes.indexOf(at) : this.childNodes.length;
    if (index < 0) throw new Error("what it should stand before is not here");
    this.childNodes.splice(index, 0, child);
    child.parent = this;
  }
  removeChild(child) {
    this.childNodes.splice(this.childNodes.indexOf(child), 1);
    child.parent = null;
  }
  get textContent() {
    return this.childNodes.map((child) => child.textContent).join(" ");
  }
  /** All elements below that are wanted. */
  all(wanted) {
    return this.childNodes.flatMap((child) => [...(child.nodeType === 1 && wanted(child) ? [child] : []), ...child.all(wanted)]);
  }
}

class Text extends Node {
  nodeType = 3;
  constructor(data) {
    super();
    this.data = data;
  }
  get textContent() {
    return this.data;
  }
}

class Element extends Node {
  nodeType = 1;
  attributes = {};
  listened = {}; // type -> how many listeners
  writes = 0; // attributes set
  open = false; // of a dialog
  constructor(name, namespaceURI) {
    super();
    this.localName = name;
    this.namespaceURI = namespaceURI;
  }
  setAttribute(name, value) {
    this.writes++;
    this.attributes[name] = value;
  }
  removeAttribute(name) {
    delete this.attributes[name];
  }
  addEventListener(type, run) {
    this.listened[type] = (this.listened[type] ?? 0) + 1;
    super.addEventListener(type, run);
  }
  querySelector() {
    return null;
  }
  focus() {}
  showModal() {
    this.open = true;
  }
  close() {
    this.open = false;
  }
  /** As a user does. */
  click() {
    if (this.attributes.disabled === undefined) this.dispatchEvent(new Event("click", { cancelable: true }));
  }
  type(value) {
    if (this.attributes.disabled !== undefined) throw new Error("it cannot be typed into");
    this.value = value;
    this.dispatchEvent(new Event("input"));
  }
  submit() {
    this.dispatchEvent(new Event("submit", { cancelable: true }));
  }
}

export class Document extends EventTarget {
  made = 0; // nodes
  hidden = false;
  documentElement = {};
  #byId = {};
  constructor(ids = {}) {
    super();
    for (const [id, name] of Object.entries(ids)) this.#byId[id] = new Element(name, "html");
  }
  getElementById(id) {
    return this.#byId[id] ?? null;
  }
  createTextNode(data) {
    this.made++;
    return new Text(data);
  }
  createElement(name) {
    this.made++;
    return new Element(name, "html");
  }
  createElementNS(uri, name) {
    this.made++;
    return new Element(name, uri);
  }
}
