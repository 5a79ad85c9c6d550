// One episode being judged: the pictures, the rewards over time, and what has been said. A drag over the plot marks a range of steps.

import { actorColour, actorLegend, actorStretches } from "./actors.js";
import { episodePath, post } from "./api.js";
import { CameraWall } from "./camera_wall.js";
import { fill, h, notice } from "./dom.js";
import { bindKeys } from "./keys.js";
import { Player } from "./player.js";
import { Plot } from "./plot.js";
import { choice } from "./session.js";
import { Legend } from "./sketch_legend.js";

export class JudgeEpisode {
  /** `onJudged(success)` after a word on success; `go(by)` opens another episode. */
  constructor({ detail, curves, session, go, onJudged }) {
    Object.assign(this, { detail, session, go, onJudged, cursor: 0, range: null });
    this.player = new Player(detail.control_period, () => this.#moveTo(this.cursor + 1), () => this.#playing());
    this.legend = new Legend(curves.curves, "", () => this.plot.draw(), false);
    this.wall = new CameraWall(detail.episode_id, detail.cameras, detail.steps);
    this.canvas = h("canvas", { class: "plot", tabindex: 0, role: "slider", "aria-label": "Frame under the cursor", "aria-valuemin": 0,
      "aria-valuemax": detail.steps });
    const actors = actorStretches(detail.actors).map((s) => ({ ...s, name: actorColour(s.actor) }));
    this.plot = new Plot(this.canvas, () => ({
      last: detail.steps, curve: null, cursor: this.cursor, ghosts: this.legend.visible, actors, threshold: session.successThreshold,
        range: this.range,
    }));
    this.readout = h("span", { class: "readout" });
    this.play = h("button", { onclick: () => this.player.toggle() }, "Play");
    this.element = h("div", { class: "sketch-main" }, this.wall.element,
      h("div", { class: "status" }, this.readout, h("span", { class: "grow" }), actorLegend()), this.canvas,
      h("div", { class: "toolbar", role: "toolbar", "aria-label": "Playing" }, this.play, h("span", { class: "grow" }),
        h("button", { onclick: () => this.keys.help() }, "Keys"), h("button", { onclick: () => this.go(1) }, "Next")));
    this.panel = this.#panel();
    this.keys = bindKeys(this.#keyTable(), "Keys for judging");
    this.#pointer();
    this.#moveTo(0);
  }

  #panel() {
    this.note = h("textarea", { rows: 3, maxlength: 4000, "aria-label": "Note", placeholder: "note (saved with the button pressed next)" });
    const number = (label, extra) => h("input", { type: "number", "aria-label": label, title: label, ...extra });
    const edge = { min: 0, max: this.detail.steps - 1, step: 1, placeholder: "step", oninput: () => this.#typedRange() };
    this.first = number("first step of the range", edge);
    this.last = number("last step of the range", edge);
    this.value = number("reward of the range", { step: "any", placeholder: "value" });
    this.said = h("ul", { class: "said" });
    this.#history(this.detail.annotations);
    const word = (text, key, kind, body) => h("button", { class: kind, title: `${text} (${key})`, onclick: () => this.#say(body) }, text);
    return h("section", { class: "judging", "aria-label": "Judgement" }, h("h2", {}, "Judgement"),
      h("div", { class: "words" }, word("Success", "S", "good", { success: true }), word("Failure", "F", "bad", { success: false }),
        word("Unclear", "X", "", { clear_success: true })),
      this.note, h("button", { onclick: () => this.#say({}) }, "Save the note alone"),
      h("h3", {}, "Reward over a range"), h("div", { class: "override" }, this.first, this.last, this.value,
        h("button", { onclick: () => this.#override(this.value.valueAsNumber) }, "Override"),
        h("button", { title: "What was recorded or predicted holds there again", onclick: () => this.#override(null) }, "Take back")),
      h("p", { class: "quiet" }, "Drag over the plot to mark the range. What was recorded stays; training reads the override in its place."),
      this.legend.ghosts.length > 0 && this.legend.element, h("h3", {}, "Said so far"), this.said);
  }

  #keyTable() {
    return [
      [["s"], "success", () => this.#say({ success: true })],
      [["f"], "failure", () => this.#say({ success: false })],
      [["x"], "unclear", () => this.#say({ clear_success: true })],
      [["["], "the range begins at the cursor", () => this.#mark(this.cursor, this.range?.[1] ?? this.cursor)],
      [["]"], "the range ends at the cursor", () => this.#mark(this.range?.[0] ?? this.cursor, this.cursor)],
      [["ArrowLeft"], "one frame back", () => this.#moveTo(this.cursor - 1)],
      [["ArrowRight"], "one frame on", () => this.#moveTo(this.cursor + 1)],
      [["Shift+ArrowLeft"], "ten frames back", () => this.#moveTo(this.cursor - 10)],
      [["Shift+ArrowRight"], "ten frames on", () => this.#moveTo(this.cursor + 10)],
      [["Home"], "first frame", () => this.#moveTo(0)],
      [["End"], "last frame", () => this.#moveTo(this.detail.steps)],
      [[" "], "play, pause", () => this.player.toggle()],
      [["g"], "curves on and off", () => this.legend.toggle()],
      [["c"], "one camera large, the next, all", () => this.wall.cycle()],
      [["n"], "next episode", () => this.go(1)],
      [["p"], "the one before", () => this.go(-1)],
      [["?"], "these keys"],
    ];
  }

  #pointer() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      from = Math.round(this.plot.locate(event.clientX, event.clientY).x);
      this.#mark(from, from);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const { x } = this.plot.locate(event.clientX, event.clientY);
      this.#moveTo(x);
      if (from !== null) this.#mark(Math.min(from, Math.round(x)), Math.max(from, Math.round(x)));
    });
    for (const name of ["pointerup", "pointercancel"]) this.canvas.addEventListener(name, () => { from = null; });
  }

  #moveTo(x) {
    this.cursor = Math.min(this.detail.steps, Math.max(0, Math.round(x)));
    this.wall.show(this.cursor);
    this.legend.at(this.cursor);
    const actor = this.detail.actors[this.cursor];
    this.readout.textContent = `frame ${this.cursor} of ${this.detail.steps}${actor ? ` · ${actor} acts` : ""}`;
    this.canvas.setAttribute("aria-valuenow", this.cursor);
    this.plot.draw();
    return this.cursor < this.detail.steps;
  }

  #playing() {
    this.play.textContent = this.player.playing ? "Pause" : "Play";
  }

  /** A range of steps; the last frame belongs to no step. */
  #mark(first, last) {
    const end = this.detail.steps - 1;
    const [a, b] = [Math.min(first, last), Math.max(first, last)].map((x) => Math.min(end, Math.max(0, x)));
    this.range = [a, b];
    [this.first.value, this.last.value] = [a, b];
    this.plot.draw();
  }

  #typedRange() {
    const [a, b] = [this.first.valueAsNumber, this.last.valueAsNumber];
    this.range = Number.isInteger(a) && Number.isInteger(b) && a >= 0 && a <= b && b < this.detail.steps ? [a, b] : null;
    this.plot.draw();
  }

  #override(value) {
    if (!this.range) return notice("Mark a range of steps first: drag over the plot, or write its first and last step.", "warn");
    if (Number.isNaN(value)) return notice("Write the reward of the range.", "warn");
    return this.#say({ reward: { value, first: this.range[0], last: this.range[1] } });
  }

  async #say(body) {
    const user = choice("user");
    if (!user) return notice("Write your name at the top right first: a judgement says whose it is.", "warn");
    const note = this.note.value.trim();
    if (!Object.keys(body).length && !note) return notice("There is no note to save.", "warn");
    try {
      const said = await post(episodePath(this.detail.episode_id, "/judgement"), { ...body, note, user });
      this.note.value = "";
      this.#history(said.annotations);
      this.onJudged(said.success);
      notice("Saved.", "good", 2);
    } catch (error) {
      notice(`Not saved: ${error.message}`, "bad");
    }
  }

  #history(annotations) {
    const shown = annotations.filter((a) => ["success", "note", "reward"].includes(a.kind)).toReversed();
    fill(this.said, shown.length ? shown.map((a) => h("li", {}, h("span", {}, told(a)),
      h("span", { class: "quiet" }, ` ${a.author}, revision ${a.revision}`)))
      : h("li", { class: "quiet" }, "Nothing beyond what was recorded."));
  }

  close() {
    this.player.stop();
    this.keys.release();
    this.plot.close();
    this.wall.close();
  }
}

function told({ kind, value }) {
  if (kind === "success") return value === null ? "unclear" : value ? "success" : "failure";
  if (kind === "reward") return `reward ${value.value ?? "as recorded"} over steps ${value.first}–${value.last}`;
  return String(value);
}
