// The page #/stats?q=QUERY: the dataset in numbers (spec 000 line 31), and how long success takes (line 78).

import { get } from "./api.js";
import { bars, table } from "./charts.js";
import { emptyState, errorState, fill, h } from "./dom.js";
import { QueryBox } from "./queries.js";

const TYPES = { EPISODE_ROBOT_AGENT: "agent or script", EPISODE_ROBOT_TELEOPERATION: "teleoperation", EPISODE_ROBOT_DAGGER: "mixed" };
const whole = (n) => n.toLocaleString("en");
const hours = (h) => (h < 10 ? h.toFixed(2) : h.toFixed(1));
const time = (s) => (s === null ? "–" : `${s.toFixed(1)} s`);

export async function mount(root, { query }) {
  const body = h("div", { class: "stats" });
  const box = new QueryBox(load, query.get("q") ?? "");
  fill(root, h("div", { class: "browse" }, box.element, body));

  async function load(text) {
    try {
      show(body, await get("/api/stats", { query: text }));
    } catch (error) {
      if (error.status === 400) box.fail(error);
      else fill(body, errorState(error, () => load(text)));
    }
  }
  await Promise.all([box.load(), load(box.text)]);
}

function show(body, stats) {
  const total = stats.table.at(-1);
  if (!total?.episodes) return fill(body, h("div", { class: "wide" }, emptyState("No episodes to count", "Record some, or widen the query.")));
  const rows = stats.table.slice(0, -1).filter((r) => r.episodes);
  const sketched = stats.sketches.reduce((n, s) => n + s.sketches, 0);
  fill(body,
    h("section", { class: "panel wide figures" }, figure(whole(total.episodes), "episodes"), figure(whole(total.steps), "steps"),
      figure(hours(total.hours), "hours"), figure(whole(sketched), "sketches"), figure(whole(stats.revision), "revision")),
    panel("By task and type", table(["", "#Episodes", "#Steps", "#Hours"], stats.table.map((r) => [r.name, whole(r.episodes), whole(r.steps), hours(r.hours)])),
      h("p", { class: "quiet" }, "Rows overlap: a teleoperated episode also counts for its task.")),
    panel("Hours", bars(rows.map((r) => ({ name: r.name, value: r.hours, text: `${hours(r.hours)} h` })), "hours by task and type")),
    panel("By source", table(["Task", "Source", "Type", "#Episodes", "#Steps", "#Lost"], stats.groups.map((g) => [
      g.task, g.source + (g.kind === "episode" ? "" : ` (${g.kind})`), TYPES[g.episode_type] ?? g.episode_type, whole(g.episodes), whole(g.steps), whole(g.lost)]))),
    panel("Sketches", stats.sketches.length
      ? table(["Task", "By", "#Episodes", "#Curves"], stats.sketches.map((s) => [s.task, s.user, whole(s.episodes), whole(s.sketches)]))
      : h("p", { class: "quiet" }, "Nobody has sketched yet.")),
    panel("Time to success", ...times(stats.time_to_success ?? {})));
}

function times(drivers) {
  const rows = Object.entries(drivers);
  const known = rows.filter(([, t]) => t.n);
  if (!rows.length) return [h("p", { class: "quiet" }, "No successful episode.")];
  return [
    table(["Driver", "#Known", "#Unknown", "#Median", "#Quartiles"], rows.map(([name, t]) => [
      name, t.n, t.unknown, time(t.median), t.n ? `${time(t.q25)} – ${time(t.q75)}` : "–"])),
    known.length && bars(known.map(([name, t]) => ({ name, value: t.median, low: t.q25, high: t.q75, text: time(t.median) })),
      "median time to success with quartiles", Math.max(...known.map(([, t]) => t.q75), 1e-9)),
    h("p", { class: "quiet" }, "Known where success ended the episode, or where a sketch says when the goal was reached."),
  ];
}

const figure = (value, name) => h("div", { class: "figure" }, h("b", {}, value), h("span", { class: "quiet" }, name));
const panel = (title, ...content) => h("section", { class: "panel" }, h("h2", {}, title), content);
