// The parts of the Watch page that are words: state of the cell, streams and their ages, alarms.

import { fill, h } from "./dom.js";

export function since(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

/** Ages as the node told them, plus the time since. */
export class Ages {
  constructor() {
    this.told = null;
    this.at = 0;
  }

  take(item) {
    this.told = item;
    this.at = performance.now();
  }

  lose() {
    this.told = null;
  }

  names() {
    return Object.keys(this.told?.ages ?? {});
  }

  /** {text, kind}: live, idle (the world stands still), stale, never or unknown. */
  of(name) {
    const age = this.told?.ages[name];
    if (age === undefined) return { text: "no data", kind: "unknown" };
    const now = age + (performance.now() - this.at) / 1000;
    if (this.told.unheard.includes(name)) return { text: this.told.moving ? "never heard" : "waiting", kind: this.told.moving ? "stale" : "never" };
    const limit = this.told.limits[name] ?? (name === "safety/status" ? 2 : 5);
    const still = name !== "safety/status" && !this.told.moving;
    return { text: since(now), kind: now <= limit ? "live" : still ? "idle" : "stale" };
  }
}

const WORD = { live: "live", idle: "still", stale: "stale", never: "waiting", unknown: "unknown" };

export function showStreams(root, ages) {
  const names = ages.names().sort();
  fill(root, names.length === 0 ? h("p", { class: "quiet" }, "No stream is heard.") : h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, "Stream"), h("th", {}, "State"), h("th", { class: "number" }, "Age"))),
    h("tbody", {}, names.map((name) => {
      const { text, kind } = ages.of(name);
      return h("tr", { "data-stream": name, "data-state": kind }, h("td", {}, name),
        h("td", {}, h("span", { class: `dot ${kind}`, "aria-hidden": true }), WORD[kind]), h("td", { class: "number" }, text));
    }))));
}

const MARK = { error: "■", warning: "▲", info: "●" };

export function showAlarms(root, alarms) {
  if (!alarms.length) {
    fill(root, h("p", { class: "quiet" }, "No alarms."));
    return;
  }
  const now = Date.now() / 1000;
  fill(root, h("ul", { class: "alarms" }, alarms.slice(0, 60).map((a) => h("li", { class: `alarm ${a.level}${a.active ? " active" : ""}` },
    h("span", { class: "mark", "aria-label": a.level }, MARK[a.level]),
    h("div", {}, h("strong", {}, a.source), " ", a.message, a.count > 1 && h("span", { class: "badge none" }, `×${a.count}`)),
    h("time", {}, a.active ? `for ${since(Math.max(0, now - a.since))}` : `${since(Math.max(0, now - a.last))} ago`)))));
}

/** What the page says of the connection: {kind: good|warn|bad, text, hint}. */
export function connection(socket, link, ages) {
  if (!socket.open) return { kind: "bad", text: "Studio does not answer", hint: "Nothing here is live. Trying again." };
  if (socket.silent) return { kind: "bad", text: "Studio is silent", hint: "Nothing here is live." };
  if (!link) return { kind: "warn", text: "Connecting", hint: "" };
  if (link.state === "no_ros") return { kind: "bad", text: "No ROS here", hint: link.message };
  if (link.state === "down") return { kind: "bad", text: "No link to the cell", hint: link.message };
  if (link.state === "starting") return { kind: "warn", text: "Looking for the cell", hint: "" };
  const arm = ages.told && ages.of("safety/status");
  if (!arm || arm.kind === "never" || ages.told.unheard.includes("safety/status")) {
    return { kind: "warn", text: "No cell", hint: `Nothing is heard in ${link.namespace} on this ROS domain. Start one: apprentice launch cell.launch.xml` };
  }
  if (arm.kind === "stale") return { kind: "bad", text: "arm_node is silent", hint: `Last heard ${arm.text} ago.` };
  return { kind: "good", text: "Live", hint: "" };
}

const SAFETY = { running: "good", hold: "warn", retreat: "bad", stopped: "bad" };

/** Safety state, driver, episode and loop as rows of [label, text, kind, title]. */
export function stateRows(known, ages) {
  const { safety, estop, control, episode, step, policy, spec } = known;
  const running = ages.told?.episode ?? "";
  const driver = control?.person ? `${control.person} (person)` : running ? step?.actor || episode?.source || "sources" : "nobody: no episode";
  return [
    ["Safety", estop?.latched ? "emergency stop" : safety?.state ?? "unknown", estop?.latched ? "bad" : SAFETY[safety?.state] ?? "none", safety?.reason ?? ""],
    ["In control", driver, control?.person ? "warn" : "none", control?.forced ? "taken by a person; only hand back ends it" : ""],
    ["Episode", running ? `${episode?.task || spec?.task || ""} step ${step?.episode === running ? step.step : "…"}` : lastEpisode(episode), "none", running],
    ["Policy", policy ? (policy.ready ? policy.bundle.slice(0, 12) || "ready" : policy.message || "no bundle") : "no policy node", "none", policy?.bundle ?? ""],
    ["Clamps/holds/stops", safety ? `${safety.clamps}, ${safety.holds}, ${safety.stops}` : "–", "none", "since arm_node started"],
    ["Loop p99", safety ? `${(1000 * safety.loop_p99).toFixed(2)} ms, ${(100 * safety.overrun_fraction).toFixed(1)} % late` : "–", safety?.overrun_fraction > 0.005 ? "warn" : "none",
      "99th percentile of a control cycle, and how many missed their deadline"],
  ];
}

function lastEpisode(episode) {
  if (!episode || episode.event !== "end") return "none";
  const judged = { 1: "success", 0: "failure" }[episode.success];
  return `none; last: ${judged ?? episode.reason}, ${episode.steps} steps`;
}

export function showState(root, rows) {
  fill(root, rows.map(([label, text, kind, title]) => h("div", { class: "fact" }, h("dt", {}, label),
    h("dd", { title: title || null, "data-fact": label }, kind === "none" ? text : h("span", { class: `badge ${kind}` }, text)))));
}
