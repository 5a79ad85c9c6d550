// One evaluation: the next trial, where its objects belong, the operator's word, and the report.

import { get, post } from "./api.js";
import { bars, table } from "./charts.js";
import { errorState, fill, h, notice } from "./dom.js";
import { bindKeys } from "./keys.js";
import { StartPicture } from "./start_picture.js";
import { choice } from "./session.js";

const percent = (x) => `${Math.round(100 * x)} %`;

export class EvaluationRun {
  #busy = false;

  constructor(root, id) {
    this.id = id;
    this.path = `/api/evaluations/${encodeURIComponent(id)}`;
    this.now = h("section", { class: "panel", "aria-label": "Next trial" });
    this.table = h("section", { class: "panel", "aria-label": "Report" });
    this.note = h("textarea", { rows: 2, maxlength: 4000, "aria-label": "Note", placeholder: "note" });
    this.recorded = h("input", { "aria-label": "Recorded episode", placeholder: "id of the recorded episode (optional)",
      spellcheck: "false", maxlength: 26 });
    fill(root, h("div", { class: "evaluations" }, this.now, this.table));
    this.keys = bindKeys([
      [["s"], "success", () => this.#say(true)],
      [["f"], "failure", () => this.#say(false)],
      [["x"], "did not count: run it again", () => this.#say(null)],
      [["?"], "these keys"],
    ], "Keys for trials");
  }

  async load() {
    try {
      const evaluation = await get(this.path);
      const { sets, cameras, overlays } = await get("/api/evaluation_sets", { task: evaluation.task });
      Object.assign(this, { sets, cameras: overlays ? cameras : [] });
      this.#show(evaluation);
    } catch (error) {
      fill(this.now, errorState(error, () => this.load()));
    }
  }

  #show(evaluation) {
    this.evaluation = evaluation;
    this.trial = evaluation.trials.find((t) => t.number === evaluation.next) ?? null;
    fill(this.now, this.trial ? this.#next() : this.#finished());
    get(`${this.path}/report`).then((report) => fill(this.table, this.#report(report)), (error) => fill(this.table, errorState(error)));
  }

  #next() {
    const { trial, evaluation } = this;
    const [, start] = trial.start.split("/");
    const place = this.sets[trial.condition]?.[start];
    const done = evaluation.trials.length - evaluation.open;
    return [
      h("h2", {}, `${evaluation.task}: trial ${trial.number + 1}, ${done} of ${evaluation.trials.length} judged`), this.#progress(),
      h("div", { class: "trial" },
        h("div", { class: "trial-say" },
          h("div", {}, h("span", { class: "quiet" }, "Run policy"),
            h("div", { class: "letter", "data-policy": trial.label }, evaluation.hidden ? trial.label : trial.policy)),
          h("div", {}, h("span", { class: "quiet" }, "from "), h("strong", {}, trial.start)),
          h("div", { class: "words" }, h("button", { class: "good", onclick: () => this.#say(true) }, "Success (S)"),
            h("button", { class: "bad", onclick: () => this.#say(false) }, "Failure (F)"),
              h("button", { onclick: () => this.#say(null) }, "Did not count (X)")),
          this.note, this.recorded),
        place ? new StartPicture(evaluation.task, trial.condition, start, place, this.cameras).element
          : h("div", { class: "placing" }, h("p", {}, `Start ${trial.condition}: its seed is `, h("strong", {}, start), "."))),
    ];
  }

  #progress() {
    const kind = (t) => (t.result ? { true: "good", false: "bad" }[t.result.success] ?? "" : "");
    return h("div", { class: "progress", role: "img", "aria-label": `${this.evaluation.open} trials open` },
      this.evaluation.trials.map((t) =>
      h("span", { class: `${kind(t)} ${t.number === this.evaluation.next ? "next" : ""}`, title: `${t.number + 1}: ${t.start}` })));
  }

  #finished() {
    const { hidden, task } = this.evaluation;
    return [h("h2", {}, `${task}: every trial is judged`), this.#progress(),
      hidden && h("p", {}, "The policies are still hidden. ",
        h("button", { class: "main", onclick: () => this.#reveal() }, "Reveal them"))];
  }

  #report(report) {
    const text = (c) => (c.rate === null ? "–"
      : `${percent(c.rate)} (${c.successes}/${c.trials}, ${percent(c.low)} to ${percent(c.high)})`);
    const checked = (v) => (v.trials ? text(v) : "–");
    const differ = report.rows.flatMap((r) => r.verified.differ.map((n) => n + 1));
    const time = ({ n, median }) => (n ? `${median.toFixed(1)} s` : "–");
    return [h("h2", {}, "Success by policy and condition"),
      h("div", { class: "scroll evaluation-report" }, table(["Policy", ...report.conditions, "All", "By poses or connection", "#Helped", "Median time"],
        report.rows.map((r) => [r.policy, ...report.conditions.map((c) => text(r.cells[c])), text(r.total), checked(r.verified),
          r.verified.helped, time(r.time_to_success)]))),
      differ.length > 0 && h("p", { class: "warn" }, `People and the cell's own check differ on trial ${differ.join(", ")}.`),
      report.interventions > 0 && h("p", { class: "quiet" }, `${report.interventions} times a person put the cell in order.`),
      h("p", { class: "quiet" }, "Rate (successes of trials, 95 % Wilson interval).",
        report.open > 0 && ` ${report.open} trials are open: preliminary.`),
      bars(report.rows.filter((r) => r.total.trials).map((r) => ({
        name: r.policy, value: r.total.rate, low: r.total.low, high: r.total.high, kind: "good", text: percent(r.total.rate),
      })), "success by policy with intervals", 1)];
  }

  async #say(success) {
    const user = choice("user");
    if (!user) return notice("Write your name at the top right first: a result says who judged.", "warn");
    if (!this.trial || this.#busy) return;
    this.#busy = true;
    const body = { success, note: this.note.value.trim(), user, episode_id: this.recorded.value.trim() || null };
    try {
      const evaluation = await post(`${this.path}/trials/${this.trial.number}`, body);
      this.note.value = this.recorded.value = "";
      this.#show(evaluation);
    } catch (error) {
      notice(`Not saved: ${error.message}`, "bad");
    } finally {
      this.#busy = false;
    }
  }

  async #reveal() {
    try {
      this.#show(await post(`${this.path}/reveal`, { user: choice("user") || "unnamed" }));
    } catch (error) {
      notice(error.message, "bad");
    }
  }

  close() {
    this.keys.release();
  }
}
