// The page #/judge/EPISODE: what a person says about one episode; without an episode, those that wait for it.

import { episodePath, get } from "./api.js";
import { emptyState, errorState, fill, h } from "./dom.js";
import { JudgeEpisode } from "./judge_episode.js";
import { outcome, shortId, when } from "./rows.js";
import { choice, choose } from "./session.js";
import { thumbnail } from "./thumbnails.js";

const SOURCES = { waiting: ["not judged yet", "success is null and kind = 'episode'"], newest: ["the newest", ""] };

export async function mount(root, { argument, session }) {
  const page = new JudgePage(root, argument, session);
  await Promise.all([page.load(), page.open()]);
  return () => page.close();
}

class JudgePage {
  constructor(root, id, session) {
    Object.assign(this, { id, session, episodes: [] });
    this.stage = h("section", { class: "stage", "aria-label": "Episode" });
    this.head = h("div", { class: "sketch-head" });
    this.panel = h("div");
    this.list = h("ol", { class: "queue" });
    const source = choice("judge-source", "waiting");
    this.source = h("select", { id: "judge-source", onchange: () => {
      choose("judge-source", this.source.value);
      this.load();
    } }, Object.entries(SOURCES).map(([name, [text]]) => h("option", { value: name, selected: name === source }, text)));
    fill(root, h("div", { class: "sketch" }, this.stage, h("aside", { class: "side" }, this.head, this.panel,
      h("section", { "aria-label": "Episodes" }, h("h2", {}, "Episodes"), h("label", { class: "field" }, "Show", this.source),
        this.list))));
  }

  async load() {
    try {
      this.episodes = (await get("/api/episodes", { query: SOURCES[this.source.value][1], limit: 30 })).episodes;
      fill(this.list, this.episodes.length ? this.episodes.map((row) => this.#item(row))
        : emptyState("Every episode is judged", "Choose “the newest” to look again."));
    } catch (error) {
      fill(this.list, errorState(error, () => this.load()));
    }
  }

  #item(row) {
    const current = row.episode_id === this.id;
    return h("li", { class: current ? "current" : "", "data-id": row.episode_id },
      h("a", { href: `#/judge/${row.episode_id}`, "aria-current": current ? "true" : null }, thumbnail(row.episode_id),
        h("span", { class: "queue-text" }, h("span", {}, `${row.source} · ${row.task}`),
          h("span", { class: "quiet" }, shortId(row.episode_id)), outcome(row.success))));
  }

  async open() {
    if (!this.id) return fill(this.stage,
      emptyState("Choose an episode", "Those on the right wait for somebody's word. Controlled trials are under ",
        h("a", { href: "#/evaluations" }, "Evaluations"), "."));
    try {
      const detail = await get(episodePath(this.id));
      const curves = await get(episodePath(this.id, "/curves"), { task: detail.task });
      this.#title(detail);
      this.episode = new JudgeEpisode({
        detail, curves, session: this.session, go: (by) => this.#go(by), onJudged: (success) => this.#judged({ ...detail, success }),
      });
      fill(this.stage, this.episode.element);
      fill(this.panel, this.episode.panel);
    } catch (error) {
      fill(this.stage, errorState(error, () => this.open()));
    }
  }

  #title(detail) {
    fill(this.head, h("div", {}, h("strong", {}, `${detail.source} · ${detail.task} `), outcome(detail.success)),
      h("div", { class: "quiet" }, `${shortId(this.id)} · ${when(detail.started)} · ended: ${detail.reason} · `,
        h("a", { href: `#/sketch/${this.id}?task=${encodeURIComponent(detail.task)}` }, "Sketch")));
  }

  #judged(detail) {
    this.#title(detail);
    const item = [...this.list.children].find((e) => e.dataset.id === this.id);
    item?.querySelector(".badge").replaceWith(outcome(detail.success));
  }

  #go(by) {
    const at = this.episodes.findIndex((r) => r.episode_id === this.id);
    const next = this.episodes[at < 0 ? 0 : at + by];
    if (next) location.hash = `#/judge/${next.episode_id}`;
  }

  close() {
    this.episode?.close();
  }
}
