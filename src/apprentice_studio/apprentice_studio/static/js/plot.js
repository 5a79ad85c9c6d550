// Time against reward: the green band, ghosts, the curve, gaps, the cursor. It only draws and says where a pointer is.

export const MARGIN = { left: 40, right: 14, top: 12, bottom: 34 };
const SERIES = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5", "--series-6"];

/** Colour variable of the n-th ghost. */
export const ghostColour = (n) => SERIES[n % SERIES.length];

export class Plot {
  #pending = false;
  #resize = new ResizeObserver(() => this.draw());
  #dark = matchMedia("(prefers-color-scheme: dark)");
  #redraw = () => this.draw();

  /** `state()` returns {last: number of the last frame, curve, cursor, pen, ghosts: [{values, colour, dashed}], actors, threshold, erasing, range}. */
  constructor(canvas, state) {
    this.canvas = canvas;
    this.state = state;
    this.#resize.observe(canvas);
    this.#dark.addEventListener("change", this.#redraw);
  }

  close() {
    this.#resize.disconnect();
    this.#dark.removeEventListener("change", this.#redraw);
  }

  /** {x: in frames, not rounded, y: value}, both brought inside. */
  locate(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const { last } = this.state();
    const x = ((clientX - box.left - MARGIN.left) / Math.max(1, box.width - MARGIN.left - MARGIN.right)) * last;
    const y = 1 - (clientY - box.top - MARGIN.top) / Math.max(1, box.height - MARGIN.top - MARGIN.bottom);
    return { x: Math.min(last, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
  }

  /** The inverse of `locate`: page coordinates of a frame and a value. */
  place(frame, value) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: box.left + MARGIN.left + (frame / Math.max(1, this.state().last)) * (box.width - MARGIN.left - MARGIN.right),
      y: box.top + MARGIN.top + (1 - value) * (box.height - MARGIN.top - MARGIN.bottom),
    };
  }

  /** Draws before the next picture of the screen, once however often it is asked. */
  draw() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.#paint();
    });
  }

  #paint() {
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    if (this.canvas.width !== Math.round(width * scale)) this.canvas.width = Math.round(width * scale);
    if (this.canvas.height !== Math.round(height * scale)) this.canvas.height = Math.round(height * scale);
    const c = this.canvas.getContext("2d");
    c.setTransform(scale, 0, 0, scale, 0, 0);
    c.clearRect(0, 0, width, height);
    const style = getComputedStyle(this.canvas);
    const s = this.state();
    const area = { x: MARGIN.left, y: MARGIN.top, w: width - MARGIN.left - MARGIN.right, h: height - MARGIN.top - MARGIN.bottom };
    const tools = {
      c, s, area,
      colour: (name) => style.getPropertyValue(name),
      X: (f) => area.x + (f / Math.max(1, s.last)) * area.w,
      Y: (v) => area.y + (1 - v) * area.h,
    };
    paintAxes(tools);
    paintRange(tools);
    for (const ghost of s.ghosts) paintLine(tools, ghost.values, ghost.colour, 1.5, ghost.dashed ? [6, 4] : []);
    if (s.curve) paintCurve(tools);
    paintActors(tools);
    paintCursor(tools);
  }
}

function paintAxes({ c, s, area, colour, X, Y }) {
  c.fillStyle = colour("--plot-ground");
  c.fillRect(area.x, area.y, area.w, area.h);
  c.fillStyle = colour("--band");
  c.fillRect(area.x, Y(1), area.w, Y(s.threshold) - Y(1));
  c.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  c.textBaseline = "middle";
  c.textAlign = "right";
  for (const v of [0, 0.25, 0.5, 0.75, 1]) {
    c.strokeStyle = colour("--plot-grid");
    c.lineWidth = 1;
    line(c, [[area.x, Y(v)], [area.x + area.w, Y(v)]]);
    c.fillStyle = colour("--quiet");
    c.fillText(String(v), area.x - 6, Y(v));
  }
  c.strokeStyle = colour("--good");
  line(c, [[area.x, Y(s.threshold)], [area.x + area.w, Y(s.threshold)]]);
  c.fillStyle = colour("--good-text");
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillText(`goal reached (from ${s.threshold})`, area.x + 6, Y((1 + s.threshold) / 2));
  c.fillStyle = colour("--quiet");
  c.textAlign = "center";
  c.textBaseline = "top";
  const step = niceStep(s.last / Math.max(2, area.w / 90));
  for (let f = 0; f <= s.last; f += step) c.fillText(String(f), X(f), area.y + area.h + 18);
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  return [1, 2, 5, 10].map((m) => m * power).find((v) => v >= rough) ?? 1;
}

function paintRange({ c, s, area, colour, X }) {
  if (!s.range) return;
  c.fillStyle = colour("--range");
  c.fillRect(X(s.range[0]), area.y, Math.max(2, X(s.range[1]) - X(s.range[0])), area.h);
}

function line(c, points) {
  c.beginPath();
  for (const [x, y] of points) c.lineTo(x, y);
  c.stroke();
}

/** A line through the frames that have a value; a frame between two gaps is a dot. */
function paintLine({ c, colour, X, Y }, values, name, width, dash = []) {
  c.strokeStyle = c.fillStyle = colour(name);
  c.lineWidth = width;
  c.lineJoin = "round";
  c.setLineDash(dash);
  c.beginPath();
  const drawn = (f) => f >= 0 && f < values.length && !Number.isNaN(values[f]);
  for (let f = 0; f < values.length; f++) {
    if (!drawn(f)) continue;
    if (!drawn(f - 1)) c.moveTo(X(f), Y(values[f]));
    if (!drawn(f - 1) && !drawn(f + 1)) c.fillRect(X(f) - 1.5, Y(values[f]) - 1.5, 3, 3);
    else c.lineTo(X(f), Y(values[f]));
  }
  c.stroke();
  c.setLineDash([]);
}

function paintCurve(tools) {
  const { c, s, area, colour, X } = tools;
  paintLine(tools, s.curve.values, "--curve", 2.5);
  const half = area.w / Math.max(1, s.last) / 2;
  const bar = ([first, last], name) => {
    const from = Math.max(area.x, X(first) - half);
    c.fillStyle = colour(name);
    c.fillRect(from, area.y + area.h - 4, Math.max(2, Math.min(area.x + area.w, X(last) + half) - from), 4);
  };
  for (const gap of s.curve.gaps()) bar(gap, "--warn");
  for (const filled of s.curve.filledStretches()) bar(filled, "--filled");
}

function paintActors({ c, s, area, colour, X }) {
  for (const { first, last, name } of s.actors) {
    c.fillStyle = colour(name);
    c.fillRect(X(first), area.y + area.h + 6, Math.max(2, X(Math.min(s.last, last + 1)) - X(first)), 6);
  }
}

function paintCursor({ c, s, area, colour, X, Y }) {
  const x = X(s.cursor);
  c.strokeStyle = colour("--text");
  c.lineWidth = 1;
  line(c, [[x, area.y - 6], [x, area.y + area.h + 4]]);
  const value = s.curve && s.curve.has(s.cursor) ? s.curve.values[s.cursor] : null;
  if (value !== null) {
    c.fillStyle = colour("--curve");
    c.beginPath();
    c.arc(x, Y(value), 4.5, 0, 2 * Math.PI);
    c.fill();
  }
  if (s.pen !== null && s.pen !== undefined) {
    c.strokeStyle = colour(s.erasing ? "--bad" : "--curve");
    c.lineWidth = 2;
    line(c, [[x - 9, Y(s.pen)], [x + 9, Y(s.pen)]]);
  }
}
