// Watch: the running cell, live. What is not live says so; the emergency stop is on the page at all times.

import { get, post } from "./api.js";
import { ArmView } from "./arm_view.js";
import { fill, h, notice, typing } from "./dom.js";
import { choice } from "./session.js";
import { COLOURS, LinePlot, number } from "./traces.js";
import { Cameras } from "./watch_cameras.js";
import { Ages, connection, showAlarms, showState, showStreams, stateRows } from "./watch_panels.js";
import { Runs } from "./watch_runs.js";
import { WatchSocket } from "./watch_socket.js";

const FORCE = ["x", "y", "z"];
const BEAT = 250;
const WINDOW = 20;

function style() {
  const href = new URL("../css/watch.css", import.meta.url).href;
  if (document.querySelector(`link[href="${href}"]`)) return Promise.resolve();
  const link = h("link", { rel: "stylesheet", href });
  return new Promise((done) => {
    link.onload = link.onerror = done;
    document.head.append(link);
  });
}

export async function mount(root) {
  await style();
  const page = new WatchPage(root);
  return () => page.close();
}

class WatchPage {
  constructor(root) {
    this.root = root;
    this.known = {};
    this.alarms = [];
    this.link = null;
    this.ages = new Ages();
    this.build();
    this.arm = new ArmView(this.parts.arm);
    this.cameras = new Cameras(this.parts.cameras);
    const live = { window: WINDOW, relative: true };
    this.plots = {
      force: new LinePlot(this.parts.force, { ...live, least: 2, unit: "N" }),
      torque: new LinePlot(this.parts.torque, { ...live, least: 0.4, unit: "N m" }),
      reward: new LinePlot(this.parts.reward, { ...live, least: 0.2, empty: "no reward yet" }),
    };
    this.runs = new Runs(this.parts.training);
    this.socket = new WatchSocket({
      item: (item) => this.take(item), picture: (header, bytes) => this.cameras.show(header, bytes), changed: () => this.beat(),
    });
    this.timer = setInterval(() => this.beat(), BEAT);
    this.key = (event) => this.press(event);
    addEventListener("keydown", this.key);
    this.beat();
  }

  close() {
    clearInterval(this.timer);
    removeEventListener("keydown", this.key);
    this.socket.close();
    this.runs.close();
    this.arm.close();
    for (const plot of Object.values(this.plots)) plot.close();
  }

  build() {
    const canvas = (label) => h("canvas", { class: "trace", role: "img", "aria-label": label });
    this.parts = {
      state: h("strong", { role: "status", "aria-live": "polite" }), hint: h("span", { class: "quiet" }), cell: h("span", { class: "quiet" }),
      stop: h("button", { class: "estop", title: "Emergency stop (Shift+E)", onclick: () => this.stop() }, "Emergency stop"),
      stopped: h("div", { class: "stopped", role: "alert", hidden: true }),
      arm: h("canvas", { class: "arm", role: "img", "aria-label": "The arm in 3D: drag turns, Shift and drag moves, the wheel zooms" }),
      cameras: h("div", { class: "cameras" }), facts: h("dl", { class: "facts" }), alarms: h("div", { class: "alarm-box" }),
      streams: h("div"), force: canvas("Force over time"), torque: canvas("Torque over time"), reward: canvas("Reward over time"),
      forceKeys: h("span", { class: "keys" }), torqueKeys: h("span", { class: "keys" }), rewardKeys: h("span", { class: "keys" }),
      training: h("section", { class: "panel training" }), alarmCount: h("span", { class: "badge none" }),
      take: h("button", { onclick: () => this.control(true), title: "The mux then obeys a person's device only; without one the arm holds" }, "Take over: hold"),
      back: h("button", { onclick: () => this.control(false) }, "Hand back"),
      ends: [["success", true], ["failure", false], ["unjudged", null]].map(([name, success]) =>
        h("button", { class: { success: "good", failure: "bad" }[name], onclick: () => this.end(success) }, name)),
    };
    const p = this.parts;
    const panel = (name, title, ...rest) => h("section", { class: `panel ${name}` }, h("header", {}, h("h2", {}, title[0]), title.slice(1)), rest);
    fill(this.root, h("div", { class: "watch" },
      h("div", { class: "watch-bar panel" }, h("span", { class: "lamp", "aria-hidden": true }), p.state, p.cell, p.hint, h("span", { class: "grow" }), p.stop),
      p.stopped,
      panel("arm-panel", ["Arm"], p.arm), panel("camera-panel", ["Cameras"], p.cameras),
      panel("state-panel", ["Cell"], p.facts,
        h("div", { class: "buttons" }, p.take, p.back), h("div", { class: "buttons" }, h("span", { class: "quiet" }, "End as"), p.ends)),
      panel("alarm-panel", ["Alarms", p.alarmCount], p.alarms),
      panel("force-panel", ["Force, N", p.forceKeys], p.force), panel("torque-panel", ["Torque, N m", p.torqueKeys], p.torque),
      panel("reward-panel", ["Reward", p.rewardKeys], p.reward),
      p.training, panel("stream-panel", ["Streams"], p.streams)));
  }

  // what comes in

  take(item) {
    const handler = this[`take_${item.t}`];
    if (handler) handler.call(this, item);
    else this.known[item.t] = item;
  }

  take_link(item) {
    this.link = item;
    if (item.state !== "up") this.ages.lose();
  }

  take_ages(item) {
    this.ages.take(item);
  }

  take_alarms(item) {
    this.alarms = item.alarms;
  }

  take_tf(item) {
    this.arm.setMoving(item.frames);
  }

  take_frames(item) {
    this.arm.setFrames(item.frames);
  }

  async take_urdf(item) {
    if (item.error) return;
    try {
      this.arm.setModel(await get("/api/watch/urdf"));
    } catch (error) {
      notice(`The arm cannot be drawn: ${error.message}`, "warn");
    }
  }

  take_wrench({ stamp, values }) {
    FORCE.forEach((axis, i) => {
      this.plots.force.add(axis, stamp, values[i]);
      this.plots.torque.add(axis, stamp, values[3 + i]);
    });
  }

  take_reward({ source, episode, stamp, values }) {
    if (episode !== this.rewarded) this.plots.reward.cut();
    this.rewarded = episode;
    for (const [name, value] of Object.entries(values)) this.plots.reward.add(`${source}/${name}`, stamp, value);
  }

  take_event() {
    // it is among the alarms, which the server keeps
  }

  take_diagnostic() {
    // likewise
  }

  // what is shown

  beat() {
    const p = this.parts;
    const { kind, text, hint } = connection(this.socket, this.link, this.ages);
    const live = kind === "good";
    this.root.firstElementChild.dataset.live = kind;
    if (p.state.textContent !== text) p.state.textContent = text;
    p.hint.textContent = hint;
    const { spec } = this.known;
    p.cell.textContent = spec && this.link ? [spec.cell, spec.task, this.ages.told?.pace].filter(Boolean).join(" · ") : "";
    this.arm.setStale(!live || this.ages.of("tf").kind === "stale");
    showState(p.facts, stateRows(live ? this.known : {}, this.ages));
    showStreams(p.streams, this.ages);
    showAlarms(p.alarms, this.alarms);
    const active = this.alarms.filter((a) => a.active).length;
    p.alarmCount.textContent = active ? `${active} active` : "none active";
    p.alarmCount.className = `badge ${active ? "bad" : "none"}`;
    this.cameras.ages((name) => this.ages.of(name));
    this.keys(p.forceKeys, this.plots.force);
    this.keys(p.torqueKeys, this.plots.torque);
    this.keys(p.rewardKeys, this.plots.reward);
    this.buttons(live);
  }

  keys(root, plot) {
    fill(root, [...plot.series.keys()].map((name, i) => h("span", {},
      h("span", { class: "key", style: { background: `var(${COLOURS[i % COLOURS.length]})` } }), `${name} ${number(plot.newest(name))}`)));
  }

  buttons(live) {
    const p = this.parts;
    const { estop, control } = this.known;
    const latched = live && Boolean(estop?.latched);
    p.stop.classList.toggle("latched", latched);
    if (!this.stopping) p.stop.textContent = latched ? "Stopped" : "Emergency stop";
    p.stopped.hidden = !latched;
    if (latched) {
      fill(p.stopped, h("strong", {}, `Emergency stop${estop.by ? ` by ${estop.by}` : ""}: ${estop.reason || "no reason given"}.`),
        " It is cleared at the robot, when its cause is gone: ",
        h("code", {}, `ros2 service call ${this.link.namespace}/reset_estop std_srvs/srv/Trigger`));
    }
    p.take.disabled = !live || Boolean(control?.person);
    p.back.disabled = !live || !control?.person;
    for (const button of p.ends) button.disabled = !live || !this.ages.told?.episode;
  }

  // what a person does

  press(event) {
    if (event.key !== "E" || event.ctrlKey || event.altKey || event.metaKey || typing(event)) return;
    event.preventDefault();
    this.stop();
  }

  get user() {
    return choice("user") || "studio";
  }

  async stop() {
    this.stopping = true;
    this.parts.stop.textContent = "Stopping …";
    try {
      await post("/api/watch/estop", { reason: "button in Studio", user: this.user });
    } catch (error) {
      notice(`EMERGENCY STOP NOT CONFIRMED. ${error.message}`, "bad", 60);
    }
    this.stopping = false;
    this.beat();
  }

  async control(engage) {
    await this.ask("/api/watch/control", { engage, user: this.user }, engage ? "The controls are taken." : "Handed back.");
  }

  async end(success) {
    await this.ask("/api/watch/end_episode", { success, reason: "operator", user: this.user }, "The episode is ended.");
  }

  async ask(path, body, done) {
    try {
      await post(path, body);
      notice(done, "good");
    } catch (error) {
      notice(error.message, "bad");
    }
  }
}
