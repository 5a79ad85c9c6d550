// All cameras of one episode at one step, side by side.

import { h } from "./dom.js";
import { Frames } from "./frames.js";

export class CameraWall {
  #views = new Map();
  #step = 0;
  #sizes = new ResizeObserver(() => this.#fit());

  /** `cameras`: {name: {height, width}}. */
  constructor(episode, cameras, steps) {
    this.names = Object.keys(cameras);
    this.frames = new Frames(episode, this.names, steps, (camera, step) => step === this.#step && this.#draw(camera));
    this.element = h("div", { class: "wall", "data-count": this.names.length, role: "group", "aria-label": "Cameras at the cursor" },
      this.names.map((name) => this.#view(name, cameras[name])));
    this.#sizes.observe(this.element);
  }

  #view(name, { height, width }) {
    const canvas = h("canvas", { width, height, role: "img", "aria-label": `camera ${name}` });
    const state = h("span", { class: "camera-state" });
    const element = h("figure", { class: "camera", title: "Click to enlarge, click again for all", onclick: () => this.enlarge(name) },
      canvas, h("figcaption", {}, name, state));
    this.#views.set(name, { canvas, state, element, ratio: width / height });
    return element;
  }

  /** One camera large, or all again. */
  enlarge(name) {
    const large = this.element.dataset.large === name ? "" : name;
    this.element.dataset.large = large;
    for (const [other, view] of this.#views) view.element.hidden = large !== "" && other !== large;
    this.#fit();
  }

  /** The next camera large, after the last all again. */
  cycle() {
    const at = this.names.indexOf(this.element.dataset.large ?? "");
    if (at === this.names.length - 1) this.enlarge(this.names[at]);
    else this.enlarge(this.names[at + 1]);
  }

  /** The frame under the cursor. Until it has come, the picture before it stays and is said to be old. */
  show(step) {
    this.#step = step;
    this.frames.look(step);
    for (const name of this.names) this.#draw(name);
  }

  /** True when every camera shows the step asked for. */
  get current() {
    return this.names.every((name) => this.#views.get(name).canvas.dataset.step === String(this.#step));
  }

  #draw(name) {
    const { canvas, state } = this.#views.get(name);
    const bitmap = this.frames.at(name, this.#step);
    const problem = this.frames.problem(name, this.#step);
    state.textContent = bitmap ? "" : problem ? ` – ${problem}` : " …";
    if (!bitmap) return;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    canvas.dataset.step = this.#step;
  }

  /** The number of columns at which the pictures are largest; all pictures get the same height. */
  #fit() {
    const { clientWidth, clientHeight } = this.element;
    const shown = [...this.#views.values()].filter((v) => !v.element.hidden);
    if (!clientWidth || !clientHeight || !shown.length) return;
    const ratio = Math.max(...shown.map((v) => v.ratio));
    const heights = shown.map((_, i) => {
      const [columns, rows] = [i + 1, Math.ceil(shown.length / (i + 1))];
      return Math.min((clientWidth - 6 * (columns - 1)) / columns / ratio, (clientHeight - 6 * (rows - 1)) / rows - 20);
    });
    const columns = heights.indexOf(Math.max(...heights)) + 1;
    this.element.style.gridTemplateColumns = `repeat(${columns}, max-content)`;
    for (const view of shown) {
      const height = Math.max(40, Math.floor(heights[columns - 1]));
      view.canvas.style.height = `${height}px`;
      view.canvas.style.width = `${Math.round(height * view.ratio)}px`;
    }
  }

  close() {
    this.#sizes.disconnect();
    this.frames.close();
  }
}
