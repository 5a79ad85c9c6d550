// Other people's curves and the models' predictions, drawn behind one's own.

import { h } from "./dom.js";
import { ghostColour } from "./plot.js";

export class Legend {
  /** `curves`: of GET curves. `onChange()` when one is shown or hidden. `drawing`: there is a curve of one's own. */
  constructor(curves, user, onChange, drawing = true) {
    this.onChange = onChange;
    this.ghosts = [];
    this.list = h("ul", { class: "legend" });
    this.element = h("section", { "aria-label": "Curves" }, h("h2", {}, "Curves"), this.list);
    if (drawing) this.list.append(h("li", {}, h("span", { class: "swatch", style: { background: "var(--curve)" } }), "you"));
    for (const curve of curves) this.add(curve, user);
  }

  /** The own saved sketch is a ghost too: it shows what a redrawing changes. */
  add(curve, user, label = "") {
    const colour = ghostColour(this.ghosts.length);
    const model = curve.kind === "model";
    const name = label || (model ? `model ${curve.model_id ?? ""}` : curve.user === user ? "you, as saved" : curve.user);
    const ghost = { values: curve.values, colour, dashed: model, shown: true, name };
    const box = h("input", { type: "checkbox", checked: true, onchange: () => {
      ghost.shown = box.checked;
      this.onChange();
    } });
    ghost.box = box;
    ghost.value = h("span", { class: "quiet value" });
    this.ghosts.push(ghost);
    this.list.append(h("li", {}, h("label", { title: `revision ${curve.revision}` }, box,
      h("span", { class: `swatch${model ? " dashed" : ""}`, style: { background: model ? "" : `var(${colour})`, borderColor: `var(${colour})` } }),
      h("span", { class: "name" }, name), ghost.value)));
  }

  get visible() {
    return this.ghosts.filter((g) => g.shown);
  }

  /** Every ghost's value at the cursor: the predicted reward beside the picture (spec 000 line 70). */
  at(frame) {
    for (const g of this.ghosts) g.value.textContent = frame < g.values.length ? g.values[frame].toFixed(2) : "";
  }

  toggle() {
    const shown = !this.ghosts.some((g) => g.shown);
    for (const g of this.ghosts) g.shown = g.box.checked = shown;
    this.onChange();
  }
}
