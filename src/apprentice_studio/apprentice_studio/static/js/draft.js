// Keeps the curve while it is drawn: at once in this browser, a moment later on the server. Nothing is thrown away before both agree.

import { ApiError, episodePath, put } from "./api.js";

const PAUSE = 400;
/** Milliseconds of rest before a draft is sent (ours). */
const RETRIES = [1000, 2000, 4000, 8000];
const PREFIX = "apprentice-draft";

export const same = (a, b) => a.length === b.length && a.every((v, i) => v === b[i]);

/** This window's mark: two windows on one episode must not write over each other's copy. */
function windowMark() {
  let mark = sessionStorage.getItem(PREFIX);
  if (!mark) sessionStorage.setItem(PREFIX, (mark = Math.random().toString(36).slice(2, 10)));
  return mark;
}

/** The copy in this browser: {values, filled, base, version, dirty, saved}. */
export class Journal {
  constructor(episode, task, user) {
    this.prefix = [PREFIX, user, task, episode].map(encodeURIComponent).join("/");
    this.key = `${this.prefix}/${windowMark()}`;
  }

  write(entry) {
    try {
      localStorage.setItem(this.key, JSON.stringify({ ...entry, saved: Date.now() }));
      return true;
    } catch {
      return false;
    }
  }

  /** This window's copy, else the newest that another window left and the server has not got. */
  read(frames) {
    const fits = (e) => e && Array.isArray(e.values) && e.values.length === frames;
    const mine = this.#entry(this.key);
    if (fits(mine)) return mine;
    const left = Object.keys(localStorage).filter((k) => k.startsWith(`${this.prefix}/`)).map((k) => this.#entry(k));
    return left.filter((e) => fits(e) && e.dirty).sort((a, b) => b.saved - a.saved)[0] ?? null;
  }

  #entry(key) {
    try {
      return JSON.parse(localStorage.getItem(key));
    } catch {
      return null;
    }
  }

  /** The server has the sketch: copies of it in this browser, also those that other windows left, are no longer needed. */
  clear(values) {
    for (const key of Object.keys(localStorage).filter((k) => k.startsWith(`${this.prefix}/`))) {
      if (key === this.key || same(this.#entry(key)?.values ?? [], values)) localStorage.removeItem(key);
    }
  }
}

export class DraftKeeper {
  #timer = 0;
  #sending = null;
  #tries = 0;
  #closed = false;
  #again = () => this.#tries && this.flush();

  /**
   * `read()` returns {values, filled, base}. `onState(state, detail)`: empty, kept (in this browser), saving, saved, away (server does
   * not answer), conflict (detail: the stored draft), refused (detail: why).
   */
  constructor({ episode, task, user, version, journal, read, onState }) {
    Object.assign(this, { path: episodePath(episode, "/draft"), task, user, version, journal, read, onState });
    this.dirty = false;
    this.conflict = null;
    addEventListener("online", this.#again);
  }

  /** To be told of every change, also within a stroke. */
  changed() {
    this.dirty = true;
    const kept = this.#keep();
    if (this.conflict) return;
    if (!this.#tries) this.onState(kept ? "kept" : "unkept");
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), this.#tries ? RETRIES[Math.min(this.#tries, RETRIES.length) - 1] : PAUSE);
  }

  #keep() {
    return this.journal.write({ ...this.read(), version: this.version, dirty: this.dirty });
  }

  /** Sends now what is not sent yet; resolves when the server has it or cannot take it. */
  async flush(options = {}) {
    clearTimeout(this.#timer);
    if (this.#sending) await this.#sending;
    if (!this.dirty || this.conflict || this.#closed) return;
    this.#sending = this.#send(options);
    await this.#sending;
    this.#sending = null;
  }

  async #send(options) {
    const { values } = this.read();
    this.onState("saving");
    this.dirty = false;
    try {
      const body = { task: this.task, user: this.user, values, version: this.version };
      this.version = (await put(this.path, body, options)).version;
      this.#tries = 0;
      this.#keep();
      this.onState(this.dirty ? "kept" : "saved");
    } catch (error) {
      this.dirty = true;
      this.#failed(error, values);
    }
  }

  #failed(error, sent) {
    const stored = error instanceof ApiError && error.status === 409 ? storedOf(error) : null;
    if (stored && same(stored.values, sent)) {
      // It had arrived; only the answer was lost.
      this.version = stored.version;
      this.dirty = !same(this.read().values, sent);
      this.#tries = 0;
      this.#keep();
      this.onState("saved");
      if (this.dirty) this.changed();
    } else if (stored) {
      this.conflict = stored;
      this.onState("conflict", stored);
    } else if (error.passing) {
      this.#tries += 1;
      this.onState("away");
      if (!this.#closed) this.#timer = setTimeout(() => this.flush(), RETRIES[Math.min(this.#tries, RETRIES.length) - 1]);
    } else {
      this.onState("refused", error.message);
    }
  }

  /** The person has chosen: what `read()` gives now follows the stored draft. */
  resolve() {
    this.version = this.conflict?.version ?? this.version;
    this.conflict = null;
    this.changed();
    return this.flush();
  }

  /** Before a sketch is saved: no draft may arrive after it. Returns how to go on drawing. */
  async settle() {
    clearTimeout(this.#timer);
    if (this.#sending) await this.#sending;
  }

  /** The sketch is saved; the next draft starts anew. */
  taken(values) {
    this.version = 0;
    this.dirty = false;
    this.conflict = null;
    this.#tries = 0;
    this.journal.clear(values);
    this.onState("empty");
  }

  /** Leaves the episode; what is not sent yet is sent, and stays in this browser if that fails. */
  async close() {
    removeEventListener("online", this.#again);
    await this.flush({ keepalive: true });
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}

/** What the server holds, out of the answer to a write that came too late. */
export function storedOf(error) {
  const stored = error.body?.stored ?? error.body?.draft ?? error.body?.sketch ?? error.body;
  return Array.isArray(stored?.values) ? stored : null;
}
