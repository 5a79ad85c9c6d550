// The curve being drawn: one value in [0, 1] per frame, or none yet. Nothing of the browser is needed here.

/** Values are kept as the store keeps them, float32: what is drawn, saved and loaded again is equal bit by bit. */
const bounded = (value) => Math.fround(Math.min(1, Math.max(0, value)));

export class Curve {
  /** `values`: a number or null per frame. */
  constructor(values) {
    this.load(values);
  }

  load(values, filled = []) {
    this.values = Float32Array.from(values, (v) => (typeof v === "number" && Number.isFinite(v) ? bounded(v) : NaN));
    this.filled = new Uint8Array(this.values.length);
    for (const [first, last] of filled) this.filled.fill(1, first, last + 1);
    this.drawn = new Uint8Array(this.values.length);
    this.done = [];
    this.undone = [];
    this.open = null;
  }

  get frames() {
    return this.values.length;
  }

  get last() {
    return this.values.length - 1;
  }

  has(frame) {
    return !Number.isNaN(this.values[frame]);
  }

  /** For JSON: null where nothing is drawn. */
  toList() {
    return Array.from(this.values, (v) => (Number.isNaN(v) ? null : v));
  }

  get labelled() {
    return this.values.reduce((n, v) => n + !Number.isNaN(v), 0);
  }

  /** Frames that got the value they have since `load`: what one's own work is counted by. */
  get labelledHere() {
    return this.values.reduce((n, v, f) => n + (!Number.isNaN(v) && this.drawn[f]), 0);
  }

  /** Stretches without a value: [[first, last], ...]. */
  gaps() {
    return stretches(this.frames, (f) => !this.has(f));
  }

  /** Stretches that were filled by interpolation and not drawn over since. */
  filledStretches() {
    return stretches(this.frames, (f) => this.filled[f] === 1);
  }

  /** What happens until `end()` is one step of undo. */
  begin() {
    this.end();
    this.open = { values: this.values.slice(), filled: this.filled.slice() };
  }

  end() {
    const before = this.open;
    this.open = null;
    if (!before) return;
    const changed = this.values.some((v, f) => !Object.is(v, before.values[f])) || this.filled.some((v, f) => v !== before.filled[f]);
    if (!changed) return;
    this.done.push(before);
    this.undone = [];
  }

  change(action) {
    this.begin();
    action();
    this.end();
  }

  /** Takes over other values; one step of undo. */
  replace(values) {
    this.change(() => {
      for (let f = 0; f < this.frames; f++) this.values[f] = typeof values[f] === "number" ? bounded(values[f]) : NaN;
      this.filled.fill(0);
    });
  }

  undo() {
    this.end();
    return this.#swap(this.done, this.undone);
  }

  redo() {
    this.end();
    return this.#swap(this.undone, this.done);
  }

  #swap(from, to) {
    const state = from.pop();
    if (!state) return false;
    to.push({ values: this.values, filled: this.filled });
    this.values = state.values;
    this.filled = state.filled;
    return true;
  }

  set(frame, value) {
    this.values[frame] = value === null ? NaN : bounded(value);
    this.filled[frame] = 0;
    this.drawn[frame] = 1;
  }

  /**
   * A pointer went from (x0, y0) to (x1, y1), x in frames and not rounded. Every frame crossed gets the value of the straight line
   * there; the frame it came from keeps what the last call gave it. `y` null erases. Both ends outside are brought to the edge.
   */
  stroke(x0, y0, x1, y1) {
    const from = this.frameAt(x0);
    const to = this.frameAt(x1);
    const step = Math.sign(to - from);
    if (step === 0) return this.set(to, y1);
    for (let f = from + step; f !== to + step; f += step) {
      const along = Math.min(1, Math.max(0, (f - x0) / (x1 - x0)));
      this.set(f, y1 === null ? null : y0 + along * (y1 - y0));
    }
  }

  frameAt(x) {
    return Math.min(this.last, Math.max(0, Math.round(x)));
  }

  /** Fills every gap by straight lines, flat before the first and after the last value. Returns the filled stretches; [] if all is empty. */
  interpolate() {
    const gaps = this.gaps();
    if (gaps.length && gaps[0][0] === 0 && gaps[0][1] === this.last) return [];
    this.change(() => {
      for (const [first, last] of gaps) {
        const left = first === 0 ? this.values[last + 1] : this.values[first - 1];
        const right = last === this.last ? left : this.values[last + 1];
        for (let f = first; f <= last; f++) {
          this.values[f] = bounded(left + ((right - left) * (f - first + 1)) / (last - first + 2));
          this.filled[f] = this.drawn[f] = 1;
        }
      }
    });
    return gaps;
  }
}

function stretches(count, inside) {
  const found = [];
  for (let f = 0; f < count; f++) {
    if (!inside(f)) continue;
    const open = found.at(-1);
    if (open && open[1] === f - 1) open[1] = f;
    else found.push([f, f]);
  }
  return found;
}
