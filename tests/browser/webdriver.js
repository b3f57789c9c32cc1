// SPDX-License-Identifier: Apache-2.0
// As much of WebDriver (W3C) as the tests need, spoken to Debian's chromedriver: no package but the browser's own.
import { spawn } from "node:child_process";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";
const BOUND_MS = 30_000;

/** Asks until the answer is truthy; what fails meanwhile is not there yet. */
export async function until(what, probe, boundMs = BOUND_MS) {
  const deadline = Date.now() + boundMs;
  for (;;) {
    let failure;
    try {
      const got = await probe();
      if (got) return got;
    } catch (error) {
      failure = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${boundMs} ms: ${what}`, { cause: failure });
    await pause(50);
  }
}

const listens = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => (socket.destroy(), resolve(true)));
    socket.on("error", () => resolve(false));
  });

/** A browser of its own, with a profile of its own, gone with quit(). */
export class Browser {
  #driver;
  #url;

  static async start({ port, width = 1280, height = 1000, dark = false, language = "en" }) {
    const browser = new Browser();
    browser.#driver = spawn("chromedriver", [`--port=${port}`, "--log-level=OFF"], { stdio: "ignore" });
    try {
      await until("chromedriver listens", () => listens(port));
      const options = {
        args: ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", `--window-size=${width},${height}`, `--lang=${language}`, `--accept-lang=${language}`, ...(dark ? ["--force-dark-mode"] : [])],
      };
      const { sessionId } = await call(`http://127.0.0.1:${port}/session`, "POST", { capabilities: { alwaysMatch: { browserName: "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { browser: "ALL" } } } });
      browser.#url = `http://127.0.0.1:${port}/session/${sessionId}`;
    } catch (error) {
      browser.#driver.kill();
      throw error;
    }
    return browser;
  }

  async quit() {
    await this.#ask("DELETE", "").catch(() => {});
    this.#driver.kill();
  }

  #ask(method, path, body) {
    return call(this.#url + path, method, body);
  }

  go(url) {
    return this.#ask("POST", "/url", { url });
  }
  url() {
    return this.#ask("GET", "/url");
  }
  run(script, ...args) {
    return this.#ask("POST", "/execute/sync", { script, args });
  }
  /** The script calls its last argument with what it found. */
  runLater(script, ...args) {
    return this.#ask("POST", "/execute/async", { script, args });
  }
  /** For what only Chrome's own protocol has, such as whether it is night. */
  cdp(cmd, params) {
    return this.#ask("POST", "/goog/cdp/execute", { cmd, params });
  }
  /** Runs in every page from now on, before its own scripts. */
  beforeEachPage(run) {
    return this.cdp("Page.addScriptToEvaluateOnNewDocument", { source: `(${run})()` });
  }
  /** PNG as bytes. */
  async screenshot() {
    return Buffer.from(await this.#ask("GET", "/screenshot"), "base64");
  }
  /** What the browser's console said since it was asked last: [{level, message}]. */
  log() {
    return this.#ask("POST", "/se/log", { type: "browser" });
  }

  async #find(css) {
    const found = await this.#ask("POST", "/element", { using: "css selector", value: css });
    return found[ELEMENT];
  }
  /** As a user: what cannot be clicked or typed into yet is waited for. */
  click(css) {
    return until(`${css} can be clicked`, async () => (await this.#ask("POST", `/element/${await this.#find(css)}/click`, {})) === null);
  }
  type(css, text) {
    return until(`${css} can be typed into`, async () => {
      const element = await this.#find(css);
      await this.#ask("POST", `/element/${element}/clear`, {});
      return (await this.#ask("POST", `/element/${element}/value`, { text })) === null;
    });
  }
  async text(css = "body") {
    return this.#ask("GET", `/element/${await this.#find(css)}/text`);
  }
  async has(css) {
    return (await this.count(css)) > 0;
  }
  async count(css) {
    return (await this.#ask("POST", "/elements", { using: "css selector", value: css })).length;
  }
  async value(css) {
    return this.#ask("GET", `/element/${await this.#find(css)}/property/value`);
  }
  /** One of a list, by the letters it begins with. */
  choose(css, text) {
    return until(`${css} can be chosen from`, async () => (await this.#ask("POST", `/element/${await this.#find(css)}/value`, { text })) === null);
  }
  /** Nobody sees the window any more; the answer is a function that shows it again. */
  async hide() {
    const { x, y, width, height } = await this.#ask("GET", "/window/rect");
    await this.#ask("POST", "/window/minimize", {});
    return () => this.#ask("POST", "/window/rect", { x, y, width, height });
  }
  says(css, text) {
    return until(`${css} says ${text}`, async () => (await this.text(css)).includes(text));
  }
  /** Keys, to whatever has the focus. */
  keys(...list) {
    const actions = list.flatMap((value) => [{ type: "keyDown", value }, { type: "keyUp", value }]);
    return this.#ask("POST", "/actions", { actions: [{ type: "key", id: "keyboard", actions }] });
  }
}
export const TAB = "\uE004";
export const ENTER = "\uE007";
export const ESCAPE = "\uE00C";

async function call(url, method, body) {
  const response = await fetch(url, { method, body: body === undefined ? undefined : JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(BOUND_MS) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${value?.error}: ${value?.message}`);
  return value;
}
