// The page #/sketch/EPISODE?task=TASK: a queue beside one episode.

import { actorLegend } from "./actors.js";
import { episodePath, get } from "./api.js";
import { emptyState, errorState, fill, h, notice } from "./dom.js";
import { outcome, shortId, when } from "./rows.js";
import { choice } from "./session.js";
import { SketchEpisode } from "./sketch_episode.js";
import { SketchQueue } from "./sketch_queue.js";
import { chosenTask, taskField } from "./tasks.js";

const href = (id, task) => `#/sketch/${encodeURIComponent(id)}?task=${encodeURIComponent(task)}`;

export async function mount(root, { argument, query, session }) {
  const user = choice("user");
  if (!user) {
    fill(root, emptyState("Who are you?", "Sketches are kept under a name. Write yours at the top right."));
    document.getElementById("user").focus();
    return null;
  }
  const task = query.get("task") || chosenTask(session.tasks);
  const page = new SketchPage(root, { id: argument, task, user, session });
  await page.open();
  return () => page.close();
}

class SketchPage {
  constructor(root, options) {
    Object.assign(this, options);
    this.queue = new SketchQueue({ task: this.task, user: this.user, current: this.id, href: (id) => href(id, this.task) });
    this.stage = h("section", { class: "stage", "aria-label": "Episode" });
    this.head = h("div", { class: "sketch-head" });
    this.legend = h("div");
    const field = taskField(this.session.tasks, this.task, (task) => { location.hash = this.id ? href(this.id, task) : `#/sketch?task=${encodeURIComponent(task)}`; });
    fill(root, h("div", { class: "sketch" }, this.stage, h("aside", { class: "side" }, field, this.head, this.legend, this.queue.element)));
  }

  async open() {
    if (!this.task) return fill(this.stage, emptyState("No task yet", "The store has no episodes. Write a task's name, or record some with `apprentice collect`."));
    const queue = this.queue.load();
    if (this.id) return this.#show();
    await queue;
    const first = this.queue.episodes[0];
    if (first) location.replace(href(first.episode_id, this.task));
    else fill(this.stage, emptyState("Nothing to sketch here", "Choose another source on the right, or take an episode from ", h("a", { href: "#/browse" }, "Browse"), "."));
  }

  async #show() {
    try {
      const [detail, curves] = await Promise.all([
        get(episodePath(this.id)), get(episodePath(this.id, "/curves"), { task: this.task, user: this.user }),
      ]);
      fill(this.head, h("div", {}, h("strong", {}, `${detail.source} · ${detail.task} `), outcome(detail.success)),
        h("div", { class: "quiet" }, `${shortId(this.id)} · ${when(detail.started)} · `, h("a", { href: `#/judge/${this.id}` }, "Judge")), actorLegend());
      this.episode = new SketchEpisode({
        detail, curves, task: this.task, user: this.user, session: this.session, go: (direction) => this.#go(direction),
        onSaved: (id) => this.queue.mark(id),
      });
      fill(this.stage, this.episode.element);
      fill(this.legend, this.episode.legend.element);
      this.episode.canvas.focus({ preventScroll: true });
    } catch (error) {
      fill(this.stage, errorState(error, () => this.#show()));
    }
  }

  #go(direction) {
    const id = this.queue.neighbour(direction);
    if (id) location.hash = href(id, this.task);
    else notice(direction > 0 ? "That was the last of the queue. Refresh it, or choose another source." : "This is the first of the queue.");
  }

  close() {
    this.episode?.close();
  }
}
