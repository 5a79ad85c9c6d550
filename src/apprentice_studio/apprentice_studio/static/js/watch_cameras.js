// One tile a camera: the newest picture, as the recorder and the policy get it, and its age.

import { fill, h } from "./dom.js";
import { decodeDepth, depthHeader, depthPicture } from "./depth_png.js";

export class Cameras {
  constructor(root) {
    this.root = root;
    this.tiles = new Map();
  }

  tile(name) {
    let tile = this.tiles.get(name);
    if (!tile) {
      const canvas = h("canvas", { width: 128, height: 96, role: "img", "aria-label": `Camera ${name}` });
      const age = h("span", { class: "age" });
      const figure = h("figure", { class: "camera", "data-camera": name }, canvas, h("figcaption", {}, h("span", {}, name), age));
      tile = { canvas, age, figure, busy: false, waiting: null, shown: 0 };
      this.tiles.set(name, tile);
      fill(this.root, [...this.tiles.keys()].sort().map((n) => this.tiles.get(n).figure));
    }
    return tile;
  }

  /** Decoding takes a while; a picture that comes meanwhile replaces the one that waits. */
  async show(header, bytes) {
    const tile = this.tile(header.camera);
    if (tile.busy) {
      tile.waiting = [header, bytes];
      return;
    }
    tile.busy = true;
    try {
      await paint(tile.canvas, new Uint8Array(bytes));
      tile.shown += 1;
      tile.canvas.dataset.shown = tile.shown;
      tile.figure.classList.remove("broken");
    } catch {
      tile.figure.classList.add("broken");
    }
    tile.busy = false;
    const next = tile.waiting;
    tile.waiting = null;
    if (next) this.show(...next);
  }

  /** `state(name)` gives {text, kind} of the camera's stream. */
  ages(state) {
    for (const [name, tile] of this.tiles) {
      const { text, kind } = state(`camera/${name}`);
      tile.age.textContent = text;
      tile.figure.dataset.state = kind;
    }
  }
}

async function paint(canvas, bytes) {
  const pen = canvas.getContext("2d");
  if (depthHeader(bytes)) {
    const image = depthPicture(await decodeDepth(bytes));
    canvas.width = image.width;
    canvas.height = image.height;
    pen.putImageData(image, 0, 0);
    return;
  }
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  canvas.width = image.width;
  canvas.height = image.height;
  pen.drawImage(image, 0, 0);
  image.close();
}
