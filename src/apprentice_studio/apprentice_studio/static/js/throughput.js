// Frames per minute of the person at work: frames that got a value, over the time in which something was done.

export const IDLE = 10_000;
/** Milliseconds: a longer pause counts as this much, so that a telephone call does not. */

export class Throughput {
  #frames = new Map();
  #active = 0;
  #before = null;

  /** Something was done (a look, a key, a stroke) at `now` in milliseconds. */
  touch(now) {
    if (this.#before !== null) this.#active += Math.min(IDLE, now - this.#before);
    this.#before = now;
  }

  /** So many frames of this episode have been given a value here. */
  labelled(episode, frames) {
    this.#frames.set(episode, Math.max(frames, this.#frames.get(episode) ?? 0));
  }

  get frames() {
    return [...this.#frames.values()].reduce((a, b) => a + b, 0);
  }

  get minutes() {
    return this.#active / 60_000;
  }

  /** NaN until there is a second to speak of. */
  get perMinute() {
    return this.#active < 1000 ? NaN : this.frames / this.minutes;
  }
}
