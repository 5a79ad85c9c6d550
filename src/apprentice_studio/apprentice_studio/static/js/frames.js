// Frames of one episode, fetched around the cursor before they are needed. A frame's number is the server's: step t of the bag.

import { framePath, picture } from "./api.js";
import { decodeDepth, depthHeader, depthPicture } from "./depth_png.js";

const AT_ONCE = 5;
/** Requests under way: browsers open six connections to a host, and saving must not wait behind pictures (ours). */
const CAPACITY = 2400;
/** Decoded pictures kept: 400 steps of six cameras, some 130 MB at the cell's record size (ours). */

async function decode(blob) {
  const bytes = new Uint8Array(await blob.slice(0, 33).arrayBuffer());
  if (!depthHeader(bytes)) return createImageBitmap(blob);
  return createImageBitmap(depthPicture(await decodeDepth(new Uint8Array(await blob.arrayBuffer()))));
}

export class Frames {
  #pictures = new Map();
  #waiting = new Map();
  #failed = new Map();
  #abort = new AbortController();
  #centre = 0;
  #next = [];

  /** `onFrame(camera, step)` is told of each picture that arrived; `cameras` in the order of their importance. */
  constructor(episode, cameras, steps, onFrame) {
    Object.assign(this, { episode, cameras, steps, onFrame });
  }

  /** The picture, or null while it is on its way. */
  at(camera, step) {
    return this.#pictures.get(`${camera}/${step}`) ?? null;
  }

  /** Why a picture will not come, or null. */
  problem(camera, step) {
    return this.#failed.get(`${camera}/${step}`) ?? null;
  }

  get loaded() {
    return this.#pictures.size;
  }

  /** Loads around `step`, nearest first and somewhat further ahead than behind. */
  look(step) {
    this.#centre = step;
    this.#next = null;
    this.#pump();
  }

  close() {
    this.#abort.abort();
    for (const bitmap of this.#pictures.values()) bitmap.close();
    this.#pictures.clear();
  }

  #order() {
    const order = [];
    const reach = Math.floor(CAPACITY / this.cameras.length / 2);
    for (let d = 0; d <= Math.min(reach, this.steps); d++) {
      const ahead = this.#centre + d;
      const behind = this.#centre - Math.ceil(d / 2);
      if (ahead <= this.steps) order.push(ahead);
      if (d % 2 === 1 && behind >= 0) order.push(behind);
    }
    for (let behind = this.#centre - Math.ceil(reach / 2); behind >= Math.max(0, this.#centre - reach); behind--) order.push(behind);
    return order;
  }

  #pump() {
    this.#next ??= this.#order().flatMap((step) => this.cameras.map((camera) => [camera, step]));
    while (this.#waiting.size < AT_ONCE && this.#next.length) {
      const [camera, step] = this.#next.shift();
      const key = `${camera}/${step}`;
      if (this.#pictures.has(key) || this.#waiting.has(key) || this.#failed.has(key)) continue;
      this.#waiting.set(key, this.#load(key, camera, step));
    }
  }

  async #load(key, camera, step) {
    const signal = this.#abort.signal;
    try {
      const bitmap = await decode(await picture(framePath(this.episode, camera, step), { signal }));
      if (signal.aborted) return bitmap.close();
      this.#pictures.set(key, bitmap);
      this.#forget();
    } catch (error) {
      if (signal.aborted) return;
      this.#failed.set(key, error.message);
      if (error.passing) setTimeout(() => this.#retry(key), 2000);
    } finally {
      this.#waiting.delete(key);
    }
    this.onFrame(camera, step);
    this.#pump();
  }

  #retry(key) {
    if (this.#abort.signal.aborted) return;
    this.#failed.delete(key);
    this.look(this.#centre);
  }

  /** The pictures farthest from the cursor go first. */
  #forget() {
    if (this.#pictures.size <= CAPACITY) return;
    const far = [...this.#pictures.keys()].map((key) => [Math.abs(Number(key.slice(key.lastIndexOf("/") + 1)) - this.#centre), key]);
    far.sort((a, b) => b[0] - a[0]);
    for (const [, key] of far.slice(0, CAPACITY / 10)) {
      this.#pictures.get(key).close();
      this.#pictures.delete(key);
    }
  }
}
