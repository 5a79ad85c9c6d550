// The query box: the store's SQL-like filter, with names for those one needs again.

import { get, put, remove } from "./api.js";
import { fill, h, notice } from "./dom.js";

const HELP = "task = 'lift' and success = true and not tag = 'bad' and source in ('expert', 'teleop') and steps >= 10";

export class QueryBox {
  /** `onQuery(text)` when the person asks; `value`: what stands there at first. */
  constructor(onQuery, value = "") {
    this.onQuery = onQuery;
    this.input = h("input", {
      class: "query", value, spellcheck: "false", autocomplete: "off", maxlength: 10000, placeholder: HELP, "aria-label": "Query over episodes",
      "aria-describedby": "query-error",
    });
    this.names = h("select", { "aria-label": "Saved queries", onchange: () => this.#take() });
    this.error = h("p", { class: "query-error", id: "query-error", role: "alert", hidden: true });
    const form = h("form", { class: "query-form", onsubmit: (event) => { event.preventDefault(); this.ask(); } }, this.names, this.input,
      h("button", { class: "main" }, "Show"), h("button", { type: "button", title: "Keep this query under a name", onclick: () => this.#save() }, "Save …"),
      this.drop = h("button", { type: "button", title: "Forget the chosen name", disabled: true, onclick: () => this.#forget() }, "Forget"));
    this.element = h("div", { class: "query-box" }, form, this.error);
    this.known = {};
  }

  get text() {
    return this.input.value.trim();
  }

  ask() {
    this.fail(null);
    this.onQuery(this.text);
  }

  /** What the server says is wrong with the query; null clears it. */
  fail(error) {
    this.error.hidden = !error;
    this.error.textContent = error?.message ?? "";
    this.input.toggleAttribute("aria-invalid", Boolean(error));
  }

  async load(selected = "") {
    try {
      this.known = (await get("/api/queries")).queries;
    } catch (error) {
      return notice(`Saved queries: ${error.message}`, "bad");
    }
    fill(this.names, h("option", { value: "" }, "saved …"), Object.keys(this.known).sort().map((n) => h("option", { value: n, selected: n === selected }, n)));
    this.drop.disabled = !this.names.value;
  }

  #take() {
    this.drop.disabled = !this.names.value;
    if (!(this.names.value in this.known)) return;
    this.input.value = this.known[this.names.value];
    this.ask();
  }

  async #save() {
    const name = prompt("A name for this query", this.names.value)?.trim();
    if (!name) return;
    try {
      await put(`/api/queries/${encodeURIComponent(name)}`, { where: this.text });
      await this.load(name);
    } catch (error) {
      this.fail(error);
    }
  }

  async #forget() {
    try {
      await remove(`/api/queries/${encodeURIComponent(this.names.value)}`);
      await this.load();
    } catch (error) {
      this.fail(error);
    }
  }
}
