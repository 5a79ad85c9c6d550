// Training curves of the run folders: chosen runs over each other, one metric at a time.

import { get } from "./api.js";
import { fill, h } from "./dom.js";
import { choice, choose } from "./session.js";
import { COLOURS, LinePlot, number } from "./traces.js";

const EVERY = 5000;
const SHOWN = 4;

export class Runs {
  constructor(root) {
    this.metric = h("select", { "aria-label": "Metric", onchange: () => this.pick(this.metric.value) });
    this.list = h("ul", { class: "runs" });
    this.canvas = h("canvas", { class: "plot", "aria-label": "Training curves", role: "img" });
    this.note = h("p", { class: "quiet" });
    fill(root, h("header", {}, h("h2", {}, "Training"), h("span", { class: "grow" }), this.metric), this.canvas, this.list, this.note);
    this.plot = new LinePlot(this.canvas, { xUnit: "updates", empty: "no training run yet" });
    this.curves = new Map();
    this.rows = [];
    this.hidden = new Set();
    this.read();
  }

  close() {
    clearTimeout(this.timer);
    this.closed = true;
    this.plot.close();
  }

  async read() {
    try {
      if (!document.hidden) await this.refresh();
    } catch (error) {
      this.note.textContent = error.message;
    }
    if (!this.closed) this.timer = setTimeout(() => this.read(), EVERY);
  }

  async refresh() {
    const { folder, runs } = await get("/api/watch/runs");
    this.rows = runs;
    this.note.textContent = runs.length ? "" : `No run in ${folder}/ yet: apprentice train writes there.`;
    await Promise.all(this.chosen().map(async (run) => {
      if (this.curves.get(run.name)?.modified === run.modified) return;
      this.curves.set(run.name, await get("/api/watch/runs/curves", { name: run.name }));
    }));
    this.show();
  }

  chosen() {
    return this.rows.filter((r) => !this.hidden.has(r.name)).slice(0, SHOWN);
  }

  pick(metric) {
    choose("watch-metric", metric);
    this.show();
  }

  show() {
    const metrics = [...new Set(this.chosen().flatMap((r) => r.metrics))].sort();
    const wished = choice("watch-metric");
    const metric = metrics.includes(wished) ? wished : metrics.find((m) => m.startsWith("train/")) ?? metrics[0] ?? "";
    fill(this.metric, metrics.map((m) => h("option", { value: m }, m)));
    this.metric.value = metric;
    this.metric.hidden = !metrics.length;
    const lines = {};
    for (const run of this.chosen()) {
      const curve = this.curves.get(run.name)?.curves[metric];
      lines[run.name] = { x: curve?.step ?? [], y: curve?.value ?? [] };
    }
    this.plot.set(lines);
    const names = this.chosen().map((r) => r.name);
    fill(this.list, this.rows.slice(0, 8).map((run) => this.row(run, names.indexOf(run.name), metric)));
  }

  row(run, at, metric) {
    const value = at < 0 ? null : this.plot.newest(run.name);
    const state = run.finished ? "done" : run.live ? "running" : "stopped";
    return h("li", {}, h("label", {},
      h("input", { type: "checkbox", checked: at >= 0, onchange: () => this.toggle(run.name) }),
      h("span", { class: "key", style: { background: at < 0 ? "transparent" : `var(${COLOURS[at % COLOURS.length]})` } }),
      h("span", { class: "name" }, run.name)),
    h("span", { class: "quiet" }, `${run.algorithm} ${run.step}${run.steps ? ` / ${run.steps}` : ""}`),
    h("span", { class: `badge ${state === "running" ? "good" : "none"}` }, state),
    h("span", { class: "number", title: metric }, number(value)));
  }

  toggle(name) {
    if (this.hidden.has(name)) this.hidden.delete(name);
    else this.hidden.add(name);
    this.refresh().catch((error) => { this.note.textContent = error.message; });
  }
}
