// What a person does to one curve, by pointer or by key. It knows the curve, the cursor and the pen, and tells the page of changes.

import { Curve } from "./curve.js";
import { Player } from "./player.js";

export class SketchEditor {
  /**
   * `frames`: steps + 1. `period`: seconds a frame. `onCursor()` after each move, `onCurve()` after each change of values (also within
   * a stroke), `onTools()` when pen, eraser or playing switch.
   */
  constructor({ frames, period, onCursor, onCurve, onTools }) {
    Object.assign(this, { onCursor, onCurve, onTools });
    this.curve = new Curve(new Array(frames).fill(null));
    this.cursor = 0;
    this.pen = 0;
    this.penDown = false;
    this.erasing = false;
    this.player = new Player(period, () => this.step(1), onTools);
  }

  get last() {
    return this.curve.last;
  }

  /** The cursor to a frame; with the pen down, every frame crossed is drawn (or erased). False at the end of the episode. */
  moveTo(x) {
    const to = this.curve.frameAt(x);
    const from = this.cursor;
    this.cursor = to;
    if (this.penDown && to !== from) this.#draw(from, this.curve.has(from) ? this.curve.values[from] : this.pen, to, this.pen);
    this.onCursor();
    return to !== this.last;
  }

  #draw(from, y0, to, y1) {
    if (this.curve.open) this.curve.stroke(from, this.erasing ? null : y0, to, this.erasing ? null : y1);
    else this.curve.change(() => this.curve.stroke(from, this.erasing ? null : y0, to, this.erasing ? null : y1));
    this.onCurve();
  }

  step(by) {
    return this.moveTo(this.cursor + by);
  }

  /** A pointer's button went down; until strokeEnded everything is one step of undo. */
  strokeBegan() {
    this.player.stop();
    this.#liftPen();
    this.curve.begin();
  }

  strokeTo(from, to, erase) {
    this.curve.stroke(from.x, erase ? null : from.y, to.x, erase ? null : to.y);
    this.cursor = this.curve.frameAt(to.x);
    if (!erase) this.pen = to.y;
    this.onCursor();
    this.onCurve();
  }

  strokeEnded() {
    this.curve.end();
    this.onCurve();
  }

  /** The keyboard's pen up or down; while it is down, all it draws is one step of undo. */
  togglePen() {
    if (this.penDown) return this.#liftPen();
    this.penDown = true;
    this.curve.begin();
    this.#draw(this.cursor, this.pen, this.cursor, this.pen);
    this.onTools();
  }

  #liftPen() {
    if (!this.penDown) return;
    this.penDown = false;
    this.curve.end();
    this.onTools();
  }

  toggleEraser() {
    this.erasing = !this.erasing;
    this.onTools();
  }

  /** The pen's height; with the pen down, the frame under the cursor follows. */
  raise(by) {
    this.pen = Math.min(1, Math.max(0, Math.round((this.pen + by) * 1000) / 1000));
    if (this.penDown) this.#draw(this.cursor, this.pen, this.cursor, this.pen);
    this.onCursor();
  }

  /** A value for the frame under the cursor; null erases it. */
  setHere(value) {
    if (value !== null) this.pen = value;
    const act = () => this.curve.set(this.cursor, value);
    if (this.curve.open) act();
    else this.curve.change(act);
    this.onCurve();
    this.onCursor();
  }

  clear() {
    this.#liftPen();
    this.curve.replace(new Array(this.curve.frames).fill(null));
    this.onCurve();
  }

  undo() {
    this.#liftPen();
    const done = this.curve.undo();
    if (done) this.onCurve();
    return done;
  }

  redo() {
    this.#liftPen();
    const done = this.curve.redo();
    if (done) this.onCurve();
    return done;
  }

  /** Fills the gaps; returns the stretches that were filled. */
  fillGaps() {
    this.#liftPen();
    const filled = this.curve.interpolate();
    if (filled.length) this.onCurve();
    return filled;
  }

  /** Other values as one step of undo. */
  take(values) {
    this.#liftPen();
    this.curve.replace(values);
    this.onCurve();
  }

  /** Ends a stroke that is under way: before saving. */
  finish() {
    this.player.stop();
    this.#liftPen();
    this.curve.end();
  }

  play() {
    if (!this.player.playing && this.cursor === this.last) this.moveTo(0);
    this.player.toggle();
  }
}
