// What to sketch next: a mode or a query fills the list.

import { get } from "./api.js";
import { emptyState, errorState, fill, h } from "./dom.js";
import { QueryBox } from "./queries.js";
import { outcome, shortId } from "./rows.js";
import { choice, choose } from "./session.js";
import { thumbnail } from "./thumbnails.js";

export const MODES = {
  demos: "demonstrations, drawn at random",
  agent: "agents' episodes",
  random_watcher: "random watcher",
  delusions: "delusion candidates",
  other_tasks: "other tasks",
  query: "a query",
};

export class SketchQueue {
  /** `current`: id of the episode that is open, or "". `href(id)`: where an episode is sketched. */
  constructor({ task, user, current, href }) {
    Object.assign(this, { task, user, current, href, episodes: [] });
    const mode = choice("mode", "demos");
    this.mode = h("select", { id: "mode", onchange: () => {
      choose("mode", this.mode.value);
      this.load();
    } }, Object.entries(MODES).map(([name, text]) => h("option", { value: name, selected: name === mode }, text)));
    this.box = new QueryBox((text) => {
      choose("queue-query", text);
      this.load();
    }, choice("queue-query"));
    this.list = h("ol", { class: "queue" });
    this.element = h("section", { "aria-label": "Queue" },
      h("div", { class: "side-head" }, h("h2", {}, "Queue"),
        h("button", { class: "plain", title: "Load the queue again", onclick: () => this.load() }, "Refresh")),
      h("label", { class: "field" }, "From", this.mode), this.box.element, this.list);
  }

  async load() {
    const byQuery = this.mode.value === "query";
    this.box.element.hidden = !byQuery;
    if (byQuery && !this.box.names.options.length) await this.box.load();
    this.box.fail(null);
    if (byQuery && !this.box.text) {
      this.episodes = [];
      return fill(this.list, emptyState("Which episodes?", "Write a query, or take a saved one."));
    }
    try {
      const asked = { task: this.task, user: this.user, mode: this.mode.value, query: byQuery ? this.box.text : "", limit: 20 };
      this.episodes = (await get("/api/queue", asked)).episodes;
      this.#show();
    } catch (error) {
      this.episodes = [];
      if (byQuery && error.status === 400) {
        this.box.fail(error);
        fill(this.list);
      } else fill(this.list, errorState(error, () => this.load()));
    }
  }

  #show() {
    if (!this.episodes.length) {
      fill(this.list, emptyState("Nothing left here",
        `No episode of this kind that ${this.user} has not sketched for ${this.task}. Choose another source.`));
      return;
    }
    fill(this.list, this.episodes.map((row) => h("li",
      { class: row.episode_id === this.current ? "current" : "", "data-id": row.episode_id },
      h("a", { href: this.href(row.episode_id), "aria-current": row.episode_id === this.current ? "true" : null },
        thumbnail(row.episode_id),
        h("span", { class: "queue-text" }, h("span", {}, `${row.source} · ${row.task}`),
          h("span", { class: "quiet" }, `${shortId(row.episode_id)} · ${row.steps} steps`), outcome(row.success))))));
  }

  /** The open episode has been saved: it is not waiting any more. */
  mark(id) {
    for (const item of this.list.children) if (item.dataset.id === id) item.classList.add("done");
  }

  /** Id of the next (1) or previous (-1) episode; "" when there is none. An episode that is not in the list is followed by the first. */
  neighbour(direction) {
    const at = this.episodes.findIndex((r) => r.episode_id === this.current);
    if (at < 0) return direction > 0 ? this.episodes[0]?.episode_id ?? "" : "";
    return this.episodes[at + direction]?.episode_id ?? "";
  }
}
