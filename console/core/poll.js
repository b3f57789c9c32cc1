// SPDX-License-Identifier: Apache-2.0
// Asking again and again, with the age of what is known. Nothing is asked while nobody looks (the tab is hidden), one
// question is under way at a time, and who does not answer is asked less often.

/**
 * @param ask    (signal) => Promise of the value
 * @param tell   called after each answer with {value, at, failure}: `at` is when the value was known, and stays when asking fails
 * @param every  milliseconds from an answer to the next question
 */
export class Poller {
  #ask;
  #tell;
  #every;
  #most;
  #clock;
  #timer;
  #stop;
  #running = false;
  #hidden = false;
  #failures = 0;
  state = { value: undefined, at: NaN, failure: undefined };

  constructor({ ask, tell, every = 1000, most = 15_000, clock = { now: () => Date.now(), set: (run, ms) => setTimeout(run, ms), clear: (timer) => clearTimeout(timer) } }) {
    this.#ask = ask;
    this.#tell = tell;
    this.#every = every;
    this.#most = most;
    this.#clock = clock;
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    if (!this.#hidden) this.#once();
  }

  /** After it nothing is told any more. */
  stop() {
    this.#running = false;
    this.#pause();
  }

  /** Hidden: what is under way is given up. Seen again: asked at once. */
  hide(hidden) {
    if (hidden === this.#hidden) return;
    this.#hidden = hidden;
    if (hidden) this.#pause();
    else if (this.#running) this.#once();
  }

  /** Now, because something was done that changes the answer. */
  again() {
    if (this.#running && !this.#hidden) {
      this.#pause();
      this.#once();
    }
  }

  #pause() {
    this.#clock.clear(this.#timer);
    this.#stop?.abort();
    this.#stop = undefined;
  }

  async #once() {
    const stop = new AbortController();
    this.#stop = stop;
    let next;
    try {
      const value = await this.#ask(stop.signal);
      next = { value, at: this.#clock.now(), failure: undefined };
    } catch (failure) {
      next = { ...this.state, failure };
    }
    if (stop.signal.aborted) return; // stopped, hidden, or asked anew
    this.#failures = next.failure ? this.#failures + 1 : 0;
    this.state = next;
    this.#tell(next);
    const pause = Math.max(Math.min(this.#most, this.#every * 2 ** this.#failures), next.failure?.retryAfterMs ?? 0);
    if (this.#running && !this.#hidden && this.#stop === stop) this.#timer = this.#clock.set(() => this.#once(), pause);
  }
}

/** "loading", "failed" (nothing is known), "stale" (known, but too old to act on) or "live". */
export function freshness({ value, at, failure }, now, every = 1000) {
  if (value === undefined) return failure ? "failed" : "loading";
  return failure || now - at > 5 * every ? "stale" : "live";
}
