// SPDX-License-Identifier: Apache-2.0
// What the policy of the page forbids is not in it, what is imported is there, and what is written can be read.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const here = new URL("../", import.meta.url);
const text = (name) => readFileSync(new URL(name, here), "utf8");
const modules = ["", "core/", "views/", "i18n/", "client/"].flatMap((folder) => readdirSync(new URL(folder || ".", here)).filter((name) => name.endsWith(".js")).map((name) => folder + name));

test("nothing is inline, nothing foreign, and text never becomes markup", () => {
  const page = text("index.html");
  assert.doesNotMatch(page, /<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=|https?:/);
  for (const name of modules) {
    const source = text(name);
    assert.doesNotMatch(source, /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|createContextualFragment|setTimeout\("/, name);
    if (name !== "core/format.js") assert.doesNotMatch(source, /\bstyle:/, `${name}: a style attribute`); // there it is one of Intl
    assert.doesNotMatch(source, /(\bfrom |^import |import\()"(?!\.)/m, `${name}: a foreign module`);
  }
  assert.doesNotMatch(text("app.css"), /@import|url\(/);
});

test("each module that is imported is there", () => {
  for (const name of modules)
    for (const [, wanted] of text(name).matchAll(/from "(\.[^"]+)"/g)) assert.ok(existsSync(new URL(wanted, new URL(name, here))), `${name}: ${wanted}`);
});

test("the services embed each file of the page, and nothing else", () => {
  const embedded = [...readFileSync(new URL("../events/console_page.c", here), "utf8").matchAll(/X\(\w+, "([^"]*)", "(?:console|clients\/js\/src)\/([^"]+)"/g)].map(([, path, file]) => ({ path, file }));
  const page = embedded.find((one) => one.path === "");
  assert.equal(page?.file, "index.html");
  assert.deepEqual(embedded.filter((one) => one !== page).map((one) => one.path).sort(), [...modules, "app.css", "icon.svg"].sort());
});

// WCAG 2: relative luminance, and the contrast of two colours.
function luminance(hex) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a, b) {
  const [dark, bright] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (bright + 0.05) / (dark + 0.05);
}

test("every text has a contrast of 4.5 with what it stands on, by day and by night", () => {
  const schemes = [...text("app.css").matchAll(/:root \{([^}]*)\}/g)].map(([, body]) => Object.fromEntries([...body.matchAll(/--([a-z-]+): (#[0-9a-f]{6})/g)].map(([, name, value]) => [name, value])));
  assert.equal(schemes.length, 2);
  assert.deepEqual(Object.keys(schemes[0]), Object.keys(schemes[1]));
  for (const colours of schemes) {
    const pairs = [
      ...["text", "soft", "accent", "good", "warn", "bad"].flatMap((name) => [[name, "pane"], [name, "ground"]]),
      ["good", "good-ground"], ["warn", "warn-ground"], ["bad", "bad-ground"], ["on-strong", "accent"], ["on-strong", "warn"],
    ];
    for (const [name, on] of pairs) assert.ok(contrast(colours[name], colours[on]) >= 4.5, `${name} on ${on}: ${contrast(colours[name], colours[on]).toFixed(2)}`);
  }
});

test("who does not want motion sees none, and a phone is thought of", () => {
  const sheet = text("app.css");
  for (const [, block] of sheet.matchAll(/(@media [^{]*\{)/g)) assert.ok(block);
  const still = sheet.replace(/@media \(prefers-reduced-motion: no-preference\) \{[\s\S]*?\n\}/, "");
  assert.doesNotMatch(still, /transition|animation/);
  assert.match(sheet, /@media \(max-width: 40rem\)/);
});
