// One episode being sketched: cameras above, the curve below, tools and state between.

import { actorColour, actorStretches } from "./actors.js";
import { get } from "./api.js";
import { CameraWall } from "./camera_wall.js";
import { DraftKeeper, Journal } from "./draft.js";
import { fill, h, notice } from "./dom.js";
import { bindKeys } from "./keys.js";
import { Plot } from "./plot.js";
import { SPEEDS } from "./player.js";
import { SketchEditor } from "./sketch_editor.js";
import { Legend } from "./sketch_legend.js";
import { bindPointer } from "./sketch_pointer.js";
import { SketchSaver } from "./sketch_saver.js";
import { startOf } from "./sketch_start.js";
import { Throughput } from "./throughput.js";

const pace = new Throughput();
/** Of this window, over all episodes. */

const STATES = {
  empty: ["", ""],
  kept: ["draft kept in this browser …", ""],
  unkept: ["draft not sent yet …", "warn"],
  saving: ["saving draft …", ""],
  saved: ["draft saved", "good"],
  away: ["server away – draft kept in this browser, trying again", "bad"],
  conflict: ["draft changed elsewhere", "bad"],
  refused: ["draft refused", "bad"],
};

export class SketchEpisode {
  /** `detail`: of GET episode; `curves`: of GET curves; `go(direction)` opens the next or previous episode of the queue. */
  constructor({ detail, curves, task, user, session, go, onSaved }) {
    Object.assign(this, { detail, task, user, session, go, onSaved });
    this.frames = curves.steps + 1;
    const period = detail.steps > 0 && detail.duration > 0 ? detail.duration / detail.steps : 0.1;
    this.editor = new SketchEditor({
      frames: this.frames, period, onCursor: () => this.#moved(), onCurve: () => this.#changed(), onTools: () => this.#tools(),
    });
    const journal = new Journal(detail.episode_id, task, user);
    const start = startOf(curves, user, this.frames, journal.read(this.frames));
    this.editor.curve.load(start.values, start.filled);
    this.keeper = new DraftKeeper({
      episode: detail.episode_id, task, user, version: start.version, journal,
      read: () => ({ values: this.editor.curve.toList(), filled: this.editor.curve.filledStretches(), base: this.saver.base }),
      onState: (state, told) => this.#draftState(state, told),
    });
    this.legend = new Legend(curves.curves, user, () => this.plot.draw());
    this.#build();
    this.saver = new SketchSaver({
      episode: detail.episode_id, task, user, base: start.base, editor: this.editor, keeper: this.keeper,
      ask: (...nodes) => this.#ask(...nodes), onSaved: (saved, values) => this.#saved(saved, values),
    });
    this.#begin(start);
  }

  #build() {
    const { detail } = this;
    this.wall = new CameraWall(detail.episode_id, detail.cameras, detail.steps);
    this.canvas = h("canvas", {
      class: "plot", tabindex: 0, role: "slider", "aria-label": "Reward curve: frame under the cursor", "aria-valuemin": 0,
      "aria-valuemax": this.frames - 1,
    });
    const actors = actorStretches(detail.actors ?? []).map((s) => ({ ...s, name: actorColour(s.actor) }));
    this.plot = new Plot(this.canvas, () => ({
      last: this.frames - 1, curve: this.editor.curve, cursor: this.editor.cursor, pen: this.editor.pen, ghosts: this.legend.visible,
      actors, threshold: this.session.successThreshold, erasing: this.editor.erasing,
    }));
    this.question = h("div", { class: "question", role: "alert", hidden: true });
    this.readout = h("span", { class: "readout" });
    this.done = h("span", { class: "readout" });
    this.draft = h("span", { class: "draft", role: "status" });
    this.speed = h("span", { class: "pace", title: "Frames that got a value in this window, over the time in which you worked; pauses count 10 s at most" });
    this.element = h("div", { class: "sketch-main" }, this.wall.element, this.question,
      h("div", { class: "status" }, this.readout, this.done, this.draft, h("span", { class: "grow" }), this.speed), this.canvas, this.#toolbar());
    this.unbind = bindPointer(this.plot, this.editor);
    this.keys = bindKeys(this.#keyTable(), "Keys for sketching");
  }

  #toolbar() {
    const e = this.editor;
    const button = (label, title, action, extra = {}) => h("button", { title, ...extra, onclick: (event) => {
      action();
      if (event.detail > 0) this.canvas.focus({ preventScroll: true });
    } }, label);
    this.buttons = {
      play: button("Play", "Play (Space)", () => e.play()),
      pen: button("Pen", "Draw along the cursor (D)", () => e.togglePen(), { "aria-pressed": "false" }),
      eraser: button("Eraser", "The pointer and the pen erase (E); so does the right button", () => e.toggleEraser(), { "aria-pressed": "false" }),
      undo: button("Undo", "Undo (U)", () => e.undo()),
      redo: button("Redo", "Redo (R)", () => e.redo()),
    };
    this.pick = h("select", { "aria-label": "Speed", onchange: () => { e.player.speed = Number(this.pick.value); } },
      SPEEDS.map((s) => h("option", { value: s, selected: s === 1 }, `${s}×`)));
    return h("div", { class: "toolbar", role: "toolbar", "aria-label": "Sketch tools" }, this.buttons.play, this.pick, this.buttons.pen,
      this.buttons.eraser, this.buttons.undo, this.buttons.redo, button("Fill gaps", "Fill gaps by interpolation (F)", () => this.saver.fill()),
      button("Clear", "Erase the whole curve (Shift+Delete)", () => e.clear()), h("span", { class: "grow" }),
      button("Keys", "Keys (?)", () => this.keys.help()), button("Next", "Next episode (N)", () => this.go(1)),
      button("Save", "Save the sketch (Enter)", () => this.saver.save(), { class: "main" }));
  }

  #keyTable() {
    const e = this.editor;
    const digits = [..."0123456789"].map((d) => [[d], null, () => e.setHere(Number(d) / 10)]);
    return [
      [["ArrowLeft"], "one frame back", () => e.step(-1)],
      [["ArrowRight"], "one frame on", () => e.step(1)],
      [["Shift+ArrowLeft"], "ten frames back", () => e.step(-10)],
      [["Shift+ArrowRight"], "ten frames on", () => e.step(10)],
      [["Home"], "first frame", () => e.moveTo(0)],
      [["End"], "last frame", () => e.moveTo(e.last)],
      [["0", "…", "9"], "0.0 … 0.9 at the cursor"],
      [["t"], "1.0 at the cursor: goal reached", () => e.setHere(1)],
      [["ArrowUp"], "pen up by 0.05", () => e.raise(0.05)],
      [["ArrowDown"], "pen down by 0.05", () => e.raise(-0.05)],
      [["Shift+ArrowUp"], "pen up by 0.01", () => e.raise(0.01)],
      [["Shift+ArrowDown"], "pen down by 0.01", () => e.raise(-0.01)],
      [["d"], "pen on the paper: the cursor draws, also while playing", () => e.togglePen()],
      [[" "], "play, pause", () => e.play()],
      [[","], "slower", () => e.player.faster(-1)],
      [["."], "faster", () => e.player.faster(1)],
      [["e"], "eraser on and off (also: right mouse button)", () => e.toggleEraser()],
      [["Delete", "Backspace"], "erase the frame at the cursor", () => e.setHere(null)],
      [["Shift+Delete"], "erase everything", () => e.clear()],
      [["f"], "fill gaps by interpolation", () => this.saver.fill()],
      [["u", "Ctrl+z"], "undo", () => e.undo()],
      [["r", "Ctrl+Shift+z", "Ctrl+y"], "redo", () => e.redo()],
      [["Enter", "Ctrl+s"], "save the sketch", () => this.saver.save()],
      [["n"], "next episode of the queue", () => this.go(1)],
      [["p"], "the one before", () => this.go(-1)],
      [["g"], "other curves on and off", () => this.legend.toggle()],
      [["c"], "one camera large, the next, all", () => this.wall.cycle()],
      [["?"], "these keys"],
      ...digits,
    ];
  }

  #begin(start) {
    this.#tools();
    this.#moved();
    this.#progress();
    if (start.origin === "draft") this.#draftState("saved");
    if (start.conflict) {
      this.keeper.conflict = start.conflict;
      this.keeper.dirty = true;
      this.#draftState("conflict", start.conflict);
    } else if (start.unsent) {
      notice("Your curve was still in this browser and is sent now.", "warn");
      this.keeper.changed();
    }
    this.leaving = () => this.keeper.flush({ keepalive: true });
    addEventListener("pagehide", this.leaving);
  }

  #ask(...nodes) {
    this.question.hidden = nodes.length === 0;
    fill(this.question, nodes);
  }

  #draftState(state, told) {
    const [text, kind] = STATES[state];
    this.draft.textContent = state === "refused" ? `${text}: ${told}` : text;
    this.draft.className = `draft ${kind}`;
    this.draft.dataset.state = state;
    if (state === "conflict") {
      this.#ask(h("span", {}, "This draft was changed in another window or on another machine."),
        h("button", { onclick: () => { this.#ask(); this.editor.take(told.values); this.keeper.resolve(); } }, "Take the other one"),
        h("button", { class: "main", onclick: () => { this.#ask(); this.keeper.resolve(); } }, "Keep mine"));
    }
  }

  #moved() {
    pace.touch(performance.now());
    const { cursor, curve } = this.editor;
    const value = curve.has(cursor) ? curve.values[cursor].toFixed(2) : "no value";
    this.wall.show(cursor);
    this.legend.at(cursor);
    this.readout.textContent = `frame ${cursor} of ${this.frames - 1} · ${value}`;
    this.canvas.setAttribute("aria-valuenow", cursor);
    this.canvas.setAttribute("aria-valuetext", `frame ${cursor} of ${this.frames - 1}, ${value}`);
    this.plot.draw();
  }

  #changed() {
    pace.touch(performance.now());
    pace.labelled(`${this.detail.episode_id}/${this.task}`, this.editor.curve.labelledHere);
    this.keeper.changed();
    this.#progress();
    this.#moved();
  }

  #progress() {
    const open = this.frames - this.editor.curve.labelled;
    this.done.textContent = open ? `${open} of ${this.frames} frames open` : `all ${this.frames} frames drawn`;
    this.done.className = `readout ${open ? "warn" : "good"}`;
    this.speed.textContent = Number.isNaN(pace.perMinute) ? "– frames/min" : `${Math.round(pace.perMinute)} frames/min`;
    this.buttons.undo.disabled = this.editor.curve.done.length === 0 && !this.editor.curve.open;
    this.buttons.redo.disabled = this.editor.curve.undone.length === 0;
  }

  #tools() {
    const { player, penDown, erasing } = this.editor;
    this.buttons.play.textContent = player.playing ? "Pause" : "Play";
    this.buttons.pen.setAttribute("aria-pressed", penDown);
    this.buttons.eraser.setAttribute("aria-pressed", erasing);
    this.pick.value = player.speed;
    this.canvas.classList.toggle("erasing", erasing);
    this.plot.draw();
  }

  async #saved(saved, values) {
    this.legend.add({ kind: "sketch", user: this.user, revision: saved.revision, values }, this.user, "you, as saved now");
    this.legend.at(this.editor.cursor);
    this.plot.draw();
    this.onSaved(this.detail.episode_id);
    try {
      const { frames, frames_per_minute: rate } = await get("/api/throughput", { user: this.user });
      this.speed.title = `The server counts ${frames} frames saved by ${this.user}, ${Math.round(rate)} a minute.`;
    } catch {
      // the count of this window is shown anyway
    }
  }

  close() {
    removeEventListener("pagehide", this.leaving);
    this.editor.finish();
    this.keeper.close();
    this.unbind();
    this.keys.release();
    this.plot.close();
    this.wall.close();
  }
}
