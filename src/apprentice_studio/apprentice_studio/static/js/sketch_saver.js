// Saving a sketch: only a whole one, never over somebody's newer one, and a draft until the server has it.

import { episodePath, get, put } from "./api.js";
import { h, notice } from "./dom.js";
import { storedOf } from "./draft.js";

const spans = (list) => list.map(([a, b]) => (a === b ? `${a}` : `${a}–${b}`)).join(", ");
const count = (list) => list.reduce((n, [a, b]) => n + b - a + 1, 0);

export class SketchSaver {
  #saving = false;

  /** `base`: revision of the user's sketch that the curve goes back to. `ask(...nodes)` shows a question above the plot, `ask()` none. */
  constructor({ episode, task, user, base, editor, keeper, ask, onSaved }) {
    Object.assign(this, { episode, task, user, base, editor, keeper, ask, onSaved });
  }

  async save() {
    if (this.#saving) return false;
    this.editor.finish();
    const gaps = this.editor.curve.gaps();
    if (gaps.length) return this.#refuse(gaps);
    this.#saving = true;
    try {
      return await this.#send();
    } finally {
      this.#saving = false;
    }
  }

  async #send() {
    await this.keeper.settle();
    const values = this.editor.curve.toList();
    const body = { task: this.task, user: this.user, values, filled: this.editor.curve.filledStretches(), base: this.base };
    try {
      const saved = await put(episodePath(this.episode, "/sketch"), body);
      this.base = saved.revision;
      this.ask();
      this.keeper.taken(values);
      notice(`Saved: ${values.length} frames${body.filled.length ? `, ${count(body.filled)} of them interpolated` : ""}.`, "good");
      this.onSaved(saved, values);
      return true;
    } catch (error) {
      if (error.status === 409) await this.#conflict(error);
      else notice(`Not saved: ${error.message} Your curve is kept as a draft.`, "bad");
      this.keeper.changed();
      return false;
    }
  }

  #refuse(gaps) {
    const n = count(gaps);
    this.ask(h("span", {}, `Not saved: ${n} frame${n > 1 ? "s have" : " has"} no value yet (${spans(gaps.slice(0, 4))}${gaps.length > 4 ? ", …" : ""}).`),
      h("button", { onclick: () => { this.ask(); this.editor.moveTo(gaps[0][0]); } }, "Go to the first"),
      h("button", { class: "main", onclick: () => this.fill() }, "Fill by interpolation"));
    return false;
  }

  /** Fills the gaps and says so; what was filled stays marked, is told to the server, and can be undone. */
  fill() {
    this.editor.finish();
    const filled = this.editor.fillGaps();
    this.ask();
    if (filled.length) notice(`Filled by interpolation, please look: frames ${spans(filled)}. Undo takes it back.`, "warn", 8);
    else if (this.editor.curve.gaps().length) notice("Nothing to interpolate from: draw at least one frame.", "bad");
    else notice("Every frame has a value.");
  }

  /** Somebody saved under the same name since this curve was begun. */
  async #conflict(error) {
    const stored = storedOf(error) ?? (await this.#newest());
    if (!stored) return notice(`Not saved: ${error.message}`, "bad");
    this.ask(h("span", {}, `Not saved: ${this.user} saved another sketch of this episode meanwhile (revision ${stored.revision}).`),
      h("button", { onclick: () => { this.base = stored.revision; this.editor.take(stored.values); this.ask(); } }, "Take the other one"),
      h("button", { class: "main", onclick: () => { this.base = stored.revision; this.ask(); this.save(); } }, "Save mine as the newer one"));
  }

  async #newest() {
    const { curves } = await get(episodePath(this.episode, "/curves"), { task: this.task, user: this.user });
    return curves.filter((c) => c.kind === "sketch" && c.user === this.user).at(-1) ?? null;
  }
}
