// The page #/evaluations, and #/evaluations/ID: controlled evaluation from fixed starts (spec 000 section 2.13).

import { get, post } from "./api.js";
import { table } from "./charts.js";
import { emptyState, errorState, fill, h, notice } from "./dom.js";
import { EvaluationRun } from "./evaluation_run.js";
import { choice } from "./session.js";
import { chosenTask, taskField } from "./tasks.js";

export async function mount(root, { argument, session }) {
  if (argument) {
    const run = new EvaluationRun(root, argument);
    await run.load();
    return () => run.close();
  }
  const list = h("section", { class: "panel", "aria-label": "Evaluations" });
  fill(root, h("div", { class: "evaluations" }, list, new Plan(session).element));
  await show(list);
  return null;
}

async function show(list) {
  try {
    const { evaluations } = await get("/api/evaluations");
    fill(list, h("h2", {}, "Evaluations"), evaluations.length
      ? h("div", { class: "scroll" }, table(["", "Task", "Policies", "Conditions", "#Done", "Planned by", "Begun"], evaluations.map((e) => [
        h("a", { href: `#/evaluations/${e.evaluation_id}` }, e.open ? "Go on" : "Report"), e.task,
        `${e.policies.join(", ")}${e.blind ? e.hidden ? " (blind)" : " (was blind)" : ""}`, e.conditions.join(", "),
          `${e.trials - e.open} of ${e.trials}`,
        e.author, new Date(e.created / 1e6).toLocaleString()])))
      : emptyState("No evaluation yet", "Plan one below: every policy runs from the same starts."));
  } catch (error) {
    fill(list, errorState(error, () => show(list)));
  }
}

/** The form that plans an evaluation. */
class Plan {
  constructor(session) {
    this.task = chosenTask(session.tasks);
    this.sets = h("div", { class: "wide sets" });
    this.policies = h("textarea", { rows: 3, required: true, spellcheck: "false", placeholder: "one bundle id or name a line" });
    this.episodes = h("input", { type: "number", min: 0, max: 10000, value: 0, title: "0: each named start once, 50 random ones" });
    this.seed = h("input", { type: "number", min: 0, step: 1, placeholder: "drawn" });
    this.blind = h("input", { type: "checkbox", checked: true });
    this.element = h("section", { class: "panel", "aria-label": "New evaluation" }, h("h2", {}, "New evaluation"),
      h("form", { onsubmit: (event) => { event.preventDefault(); this.#create(); } },
        taskField(session.tasks, this.task, (task) => { this.task = task; this.#starts(); }),
        h("label", {}, "Episodes of each set", this.episodes), h("label", {}, "Seed of random starts and of the order", this.seed),
        this.sets, h("label", { class: "wide" }, "Policies", this.policies),
        h("label", { class: "check" }, this.blind, "blind: shuffled, and named A, B, … until revealed"),
          h("button", { class: "main" }, "Plan")));
    this.#starts();
  }

  async #starts() {
    if (!this.task) return fill(this.sets, h("p", { class: "quiet" }, "Write a task's name to see its starts."));
    try {
      const { sets, trials } = await get("/api/evaluation_sets", { task: this.task });
      const box = (name, text, on) => h("label", { class: "check" },
        h("input", { type: "checkbox", name: "set", value: name, checked: on }), text);
      fill(this.sets, h("div", { class: "quiet" }, "Starts"),
        Object.entries(sets).map(([name, starts]) => box(name, `${name} (${Object.keys(starts).length})`, true)),
        Object.entries(trials).map(([name, { count, perturbation }]) => box(name,
          perturbation ? `${name} (${count}, goal off by ${1000 * perturbation} mm)` : `${name} (${count})`, true)),
        box("random", "random", Object.keys(sets).length + Object.keys(trials).length === 0));
    } catch (error) {
      fill(this.sets, h("p", { class: "bad", role: "alert" }, error.message));
    }
  }

  async #create() {
    const user = choice("user");
    if (!user) return notice("Write your name at the top right first.", "warn");
    const body = {
      task: this.task, sets: [...this.sets.querySelectorAll("input:checked")].map((b) => b.value),
      policies: this.policies.value.split("\n").map((p) => p.trim()).filter(Boolean), episodes: this.episodes.valueAsNumber || 0,
      blind: this.blind.checked, seed: Number.isInteger(this.seed.valueAsNumber) ? this.seed.valueAsNumber : null, user,
    };
    if (!body.sets.length) return notice("Choose at least one set of starts.", "warn");
    try {
      location.hash = `#/evaluations/${(await post("/api/evaluations", body)).evaluation_id}`;
    } catch (error) {
      notice(`Not planned: ${error.message}`, "bad");
    }
  }
}
