// Where the objects of a start belong: as a camera sees it, where the server has the simulator, and always as a plan with numbers.

import { table } from "./charts.js";
import { h } from "./dom.js";

const part = encodeURIComponent;
const degrees = (yaw) => `${Math.round((yaw * 180) / Math.PI)}°`;

export class StartPicture {
  /** `place`: {objects: {name: [x, y, z, yaw] in m and rad}, shapes: {name: shape}}; `cameras`: those that there are pictures of. */
  constructor(task, set, start, place, cameras) {
    this.path = (camera) => `/api/evaluation_sets/${part(task)}/${part(set)}/${part(start)}/overlay/${part(camera)}.png`;
    this.image = h("img", { alt: `Start ${set}/${start} as the camera sees it` });
    this.camera = h("select", { "aria-label": "Camera", onchange: () => this.#load() }, cameras.map((c) => h("option", { value: c }, c)));
    this.none = h("p", { class: "quiet", hidden: true }, "No picture: this server runs without the simulator. The plan below holds the places.");
    this.image.addEventListener("error", () => this.#seen(false));
    this.image.addEventListener("load", () => this.#seen(true));
    this.element = h("div", { class: "placing" }, this.camera, this.image, this.none, plan(place),
      table(["Object", "Shape", "#x (m)", "#y (m)", "#Turn"], Object.entries(place.objects).map(([name, [x, y, , yaw]]) => [
        name, place.shapes?.[name] ?? "", x.toFixed(3), y.toFixed(3), degrees(yaw)])));
    if (cameras.length) this.#load();
    else this.#seen(false);
  }

  #load() {
    this.image.src = this.path(this.camera.value);
  }

  #seen(shown) {
    this.image.hidden = this.camera.hidden = !shown;
    this.none.hidden = shown;
  }
}

/** The table from above: x away from the robot is up, y to its left is left, as its base frame has it. Lines of 10 cm. */
function plan(place) {
  const objects = Object.entries(place.objects);
  const xs = objects.map(([, p]) => p[0]);
  const ys = objects.map(([, p]) => p[1]);
  const [x0, x1] = [Math.floor((Math.min(...xs) - 0.08) * 10) / 10, Math.ceil((Math.max(...xs) + 0.08) * 10) / 10];
  const [y0, y1] = [Math.floor((Math.min(...ys) - 0.08) * 10) / 10, Math.ceil((Math.max(...ys) + 0.08) * 10) / 10];
  const scale = 1000;
  const X = (y) => (y1 - y) * scale;
  const Y = (x) => (x1 - x) * scale;
  const lines = [];
  for (let x = x0 + 0.1; x <= x1 + 1e-9; x += 0.1) lines.push(h("path", { class: "axis", d: `M0 ${Y(x)}H${X(y0)}` }), h("text", { x: 3, y: Y(x) + 10 }, `x ${x.toFixed(1)}`));
  for (let y = y0 + 0.1; y < y1 - 1e-9; y += 0.1) lines.push(h("path", { class: "axis", d: `M${X(y)} 0V${Y(x0)}` }), h("text", { x: X(y) + 3, y: Y(x0) - 3 }, `y ${y.toFixed(1)}`));
  return h("svg", { viewBox: `0 0 ${X(y0)} ${Y(x0)}`, role: "img", "aria-label": "Plan of the start from above" }, lines,
    objects.map(([name, [x, y, , yaw]]) => h("g", { transform: `translate(${X(y)} ${Y(x)}) rotate(${(-yaw * 180) / Math.PI})` },
      h("rect", { x: -20, y: -20, width: 40, height: 40, rx: 3, style: { fill: CSS.supports("color", name) ? name : "var(--accent)", opacity: 0.8 } }))),
    objects.map(([name, [x, y]]) => h("text", { x: X(y), y: Y(x) - 26, "text-anchor": "middle" }, name)));
}
