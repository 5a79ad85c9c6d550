// Lines over time or over steps on a canvas: a few series, an axis that fits them, the value under the pointer.

import { sheet } from "./canvas.js";

/** Custom properties of base.css: they follow the light or dark page. */
export const COLOURS = ["--curve", "--series-1", "--series-2", "--filled", "--series-4", "--series-3", "--series-5", "--series-6"];
const PAD = { left: 46, right: 10, top: 8, bottom: 20 };

/** 1, 2 or 5 times a power of ten: at most `count` such steps fit the span. */
export function tick(span, count) {
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
}

export function number(v) {
  if (v === null || v === undefined || !Number.isFinite(v)) return "–";
  const size = Math.abs(v);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return v.toExponential(1);
  return v.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

/**
 * `window`: the newest so many x are shown; 0: all. `least`: smallest span of the y axis, so that noise does not look like a signal.
 * `unit` stands beside the values, `xUnit` below.
 */
export class LinePlot {
  constructor(canvas, { window = 0, least = 1e-6, unit = "", xUnit = "s", limit = 4000, relative = false, empty = "nothing yet" } = {}) {
    Object.assign(this, { canvas, window, least, unit, xUnit, limit, relative, empty });
    this.series = new Map();
    this.pointer = null;
    this.waiting = 0;
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(canvas);
    canvas.addEventListener("pointermove", (event) => this.point(event.offsetX));
    canvas.addEventListener("pointerleave", () => this.point(null));
  }

  close() {
    this.observer.disconnect();
    cancelAnimationFrame(this.waiting);
  }

  point(x) {
    this.pointer = x;
    this.redraw();
  }

  get(name) {
    let found = this.series.get(name);
    if (!found) {
      found = { x: [], y: [], colour: COLOURS[this.series.size % COLOURS.length] };
      this.series.set(name, found);
    }
    return found;
  }

  add(name, x, y) {
    const s = this.get(name);
    // A new episode or a restarted world may begin earlier: what was before is another story.
    if (s.x.length && x < s.x[s.x.length - 1]) s.x.length = s.y.length = 0;
    s.x.push(x);
    s.y.push(y);
    if (s.x.length > 1.5 * this.limit) {
      s.x.splice(0, s.x.length - this.limit);
      s.y.splice(0, s.y.length - this.limit);
    }
    this.redraw();
  }

  /** What follows is another stretch: no line leads to it. */
  cut() {
    for (const s of this.series.values()) {
      if (!s.x.length) continue;
      s.x.push(s.x[s.x.length - 1]);
      s.y.push(null);
    }
  }

  set(all) {
    this.series.clear();
    for (const [name, { x, y }] of Object.entries(all)) Object.assign(this.get(name), { x, y });
    this.redraw();
  }

  newest(name) {
    return this.series.get(name)?.y.findLast((v) => v !== null) ?? null;
  }

  redraw() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  range() {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const s of this.series.values()) if (s.x.length) [x0, x1] = [Math.min(x0, s.x[0]), Math.max(x1, s.x[s.x.length - 1])];
    if (x1 < x0) return null;
    if (this.window) x0 = x1 - this.window;
    for (const s of this.series.values()) {
      for (let i = s.x.length - 1; i >= 0 && s.x[i] >= x0; i -= 1) {
        if (s.y[i] !== null) [y0, y1] = [Math.min(y0, s.y[i]), Math.max(y1, s.y[i])];
      }
    }
    if (y1 < y0) return null;
    const least = Math.max(this.least, 1e-3 * Math.abs(y1));
    const room = Math.max(0.06 * (y1 - y0), (least - (y1 - y0)) / 2);
    return { x0, x1: x1 > x0 ? x1 : x0 + 1, y0: y0 - room, y1: y1 + room };
  }

  draw() {
    const canvas = this.canvas;
    const shown = sheet(canvas);
    if (!shown) return;
    const { pen, width, height } = shown;
    pen.font = "11px system-ui, sans-serif";
    const style = getComputedStyle(canvas);
    const ink = style.color;
    this.colours = new Map(COLOURS.map((c) => [c, style.getPropertyValue(c)]));
    const range = this.range();
    pen.fillStyle = ink;
    if (!range) {
      pen.globalAlpha = 0.6;
      pen.textAlign = "center";
      pen.fillText(this.empty, width / 2, height / 2);
      return;
    }
    const { x0, x1, y0, y1 } = range;
    const area = { w: width - PAD.left - PAD.right, h: height - PAD.top - PAD.bottom };
    const px = (x) => PAD.left + (area.w * (x - x0)) / (x1 - x0);
    const py = (y) => PAD.top + area.h * (1 - (y - y0) / (y1 - y0));
    this.axes(pen, ink, range, px, py, width, height);
    pen.save();
    pen.beginPath();
    pen.rect(PAD.left, PAD.top, area.w, area.h);
    pen.clip();
    pen.lineWidth = 1.5;
    pen.lineJoin = "round";
    for (const s of this.series.values()) this.line(pen, s, x0, px, py);
    pen.restore();
    if (this.pointer !== null && this.pointer >= PAD.left && this.pointer <= width - PAD.right) {
      this.hover(pen, ink, x0 + ((this.pointer - PAD.left) / area.w) * (x1 - x0), px, width, height);
    }
  }

  axes(pen, ink, { x0, x1, y0, y1 }, px, py, width, height) {
    pen.strokeStyle = ink;
    pen.lineWidth = 1;
    const dy = tick(y1 - y0, Math.max(3, (height - 30) / 26));
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (let y = Math.ceil(y0 / dy) * dy; y <= y1; y += dy) {
      pen.globalAlpha = 0.13;
      pen.beginPath();
      pen.moveTo(PAD.left, py(y));
      pen.lineTo(width - PAD.right, py(y));
      pen.stroke();
      pen.globalAlpha = 0.75;
      pen.fillText(label(y, dy), PAD.left - 6, py(y));
    }
    const dx = tick(x1 - x0, Math.max(3, (width - 60) / 70));
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    const zero = this.relative ? x1 : 0;
    for (let x = zero + Math.ceil((x0 - zero) / dx) * dx; x <= x1 + 1e-9; x += dx) {
      if (px(x) > PAD.left + 50) pen.fillText(label(x - zero, dx), Math.min(px(x), width - PAD.right - 8), height - 6);
    }
    pen.textAlign = "left";
    pen.fillText(this.xUnit, PAD.left, height - 6);
    pen.globalAlpha = 1;
  }

  line(pen, s, x0, px, py) {
    pen.strokeStyle = this.colours.get(s.colour);
    pen.beginPath();
    let open = false;
    for (let i = firstAt(s.x, x0); i < s.x.length; i += 1) {
      if (s.y[i] === null) {
        open = false;
      } else {
        pen[open ? "lineTo" : "moveTo"](px(s.x[i]), py(s.y[i]));
        open = true;
      }
    }
    pen.stroke();
  }

  hover(pen, ink, x, px, width, height) {
    const rows = [];
    for (const [name, s] of this.series) {
      const i = firstAt(s.x, x);
      if (i < s.x.length) rows.push([`${name} ${number(s.y[i])}${this.unit ? ` ${this.unit}` : ""}`, s.colour]);
    }
    pen.globalAlpha = 0.4;
    pen.strokeStyle = ink;
    pen.beginPath();
    pen.moveTo(px(x), PAD.top);
    pen.lineTo(px(x), height - PAD.bottom);
    pen.stroke();
    const wide = Math.max(0, ...rows.map(([text]) => pen.measureText(text).width)) + 12;
    const left = px(x) + wide + 8 > width ? px(x) - wide - 6 : px(x) + 6;
    pen.globalAlpha = 1;
    pen.fillStyle = getComputedStyle(this.canvas).getPropertyValue("--raised");
    pen.fillRect(left, PAD.top, wide, 15 * rows.length + 5);
    pen.textAlign = "left";
    rows.forEach(([text, colour], i) => {
      pen.fillStyle = this.colours.get(colour);
      pen.fillText(text, left + 6, PAD.top + 14 + 15 * i);
    });
  }
}

function firstAt(x, from) {
  let [low, high] = [0, x.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

function label(v, step) {
  const clean = Math.abs(v) < step / 1e6 ? 0 : v;
  if (Math.abs(clean) >= 10000) return `${+(clean / 1000).toPrecision(4)}k`;
  return clean.toFixed(Math.max(0, Math.min(6, -Math.floor(Math.log10(step) + 1e-9))));
}
