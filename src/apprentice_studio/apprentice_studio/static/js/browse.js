// The page #/browse?q=QUERY&from=OFFSET: the store's episodes by query, newest first.

import { actorBar, actorLegend } from "./actors.js";
import { episodePath, get, post } from "./api.js";
import { emptyState, errorState, fill, h, notice } from "./dom.js";
import { QueryBox } from "./queries.js";
import { outcome, seconds, shortId, when } from "./rows.js";
import { choice } from "./session.js";
import { picturesCame, thumbnail } from "./thumbnails.js";

const PAGE = 50;
const link = (q, from) => `#/browse?${new URLSearchParams({ ...(q && { q }), ...(from && { from }) })}`;

export async function mount(root, { query }) {
  const page = new BrowsePage(root, query.get("q") ?? "", Math.max(0, Number(query.get("from")) || 0));
  await Promise.all([page.box.load(), page.load()]);
  return () => page.close();
}

class BrowsePage {
  constructor(root, text, offset) {
    Object.assign(this, { text, offset });
    this.box = new QueryBox((q) => {
      if (link(q, 0) === location.hash) this.load();
      else location.hash = link(q, 0);
    }, text);
    this.body = h("div", { class: "browse-body" });
    this.details = new Details();
    fill(root, h("div", { class: "browse" }, this.box.element, this.body));
  }

  async load() {
    try {
      const said = await get("/api/episodes", { query: this.text, offset: this.offset, limit: PAGE });
      this.#show(said);
    } catch (error) {
      // A query that is not understood is said at the box, where it can be mended.
      if (error.status === 400) {
        this.box.fail(error);
        fill(this.body, emptyState("Nothing shown", "The query above was not understood."));
      } else {
        fill(this.body, errorState(error, () => this.load()));
      }
    }
  }

  #show({ total, episodes }) {
    this.details.forget();
    if (!total) {
      fill(this.body, this.text ? emptyState("No episode fulfils this query",
        "Hidden episodes are left out unless the query speaks of `hidden`.")
        : emptyState("The store is empty", "Record episodes with `apprentice collect`, or start the cell."));
      return;
    }
    const last = Math.min(total, this.offset + episodes.length);
    const pages = (label) => h("div", { class: "paging", role: "navigation", "aria-label": label },
      this.#turn("Newer", this.offset - PAGE, this.offset > 0), h("span", {}, `${this.offset + 1}–${last} of ${total} episodes`),
      this.#turn("Older", this.offset + PAGE, last < total), h("span", { class: "grow" }), label.includes("above") && actorLegend());
    const head = ["", "Episode", "Outcome", "Length", "Who acted when", "Tags", "Sketched for", ""];
    fill(this.body, pages("Pages, above the list"), h("div", { class: "scroll" }, h("table", { class: "episodes" },
      h("thead", {}, h("tr", {}, head.map((t) => h("th", { scope: "col", class: t === "Length" ? "number" : null }, t)))),
      h("tbody", {}, episodes.map((row) => this.#row(row))))), total > PAGE && pages("Pages, below the list"));
  }

  #turn(label, offset, possible) {
    return possible ? h("a", { class: "turn", href: link(this.text, Math.max(0, offset)) }, label)
      : h("span", { class: "turn quiet" }, label);
  }

  #row(row) {
    const id = row.episode_id;
    const acted = h("td", { class: "acted" });
    const element = h("tr", { "data-id": id },
      h("td", {}, h("a", { href: `#/judge/${id}`, "aria-label": `Open ${id}` }, thumbnail(id))),
      h("td", {}, h("div", {}, h("strong", {}, row.source), ` · ${row.task}${row.kind === "episode" ? "" : ` · ${row.kind}`}`),
        h("div", { class: "quiet", title: id }, `${shortId(id)} · ${when(row.started)}`)),
      h("td", {}, outcome(row.success), h("div", { class: "quiet" }, row.reason)),
      h("td", { class: "number" }, `${row.steps} steps`, h("div", { class: "quiet" }, seconds(row.duration))),
      acted, h("td", { class: "tag-cell" }, new Tags(id, row.tags).element),
        h("td", {}, row.sketched.join(", ") || h("span", { class: "quiet" }, "–")),
      h("td", { class: "links" }, h("a", { href: `#/sketch/${id}?task=${encodeURIComponent(row.task)}` }, "Sketch"), " ",
        h("a", { href: `#/judge/${id}` }, "Judge")));
    this.details.whenSeen(acted, id, (detail) => fill(acted, actorBar(detail.actors)));
    return element;
  }

  close() {
    this.details.forget();
  }
}

/** Who acted is in the bags: they are opened for the rows that are seen, two at a time, once the pictures of these rows are there. */
class Details {
  #turn = 0;
  #waiting = [];
  #running = 0;
  #seen = new IntersectionObserver(async (entries) => {
    const turn = this.#turn, seen = entries.filter((e) => e.isIntersecting).map((e) => e.target);
    seen.forEach((element) => this.#seen.unobserve(element));
    await picturesCame();
    if (turn !== this.#turn) return;
    this.#waiting.push(...seen.map((element) => this.#wanted.get(element)));
    this.#pump();
  });
  #wanted = new Map();

  whenSeen(element, id, show) {
    this.#wanted.set(element, { id, show, element });
    this.#seen.observe(element);
  }

  forget() {
    this.#turn += 1;
    this.#seen.disconnect();
    this.#wanted.clear();
    this.#waiting = [];
  }

  async #pump() {
    while (this.#running < 2 && this.#waiting.length) {
      const { id, show, element } = this.#waiting.shift();
      const turn = this.#turn;
      this.#running += 1;
      get(episodePath(id)).then((detail) => turn === this.#turn && show(detail))
        .catch((error) => turn === this.#turn && fill(element, h("span", { class: "bad", title: error.message }, "not readable")))
        .finally(() => {
          this.#running -= 1;
          this.#pump();
        });
    }
  }
}

/** The labels of one episode; a person may set and take them (spec 000 line 28). */
class Tags {
  constructor(id, tags) {
    Object.assign(this, { id, tags });
    this.element = h("div", { class: "tags" });
    this.#show();
  }

  #show() {
    const input = h("input", { class: "new-tag", "aria-label": "New tag", placeholder: "+ tag", maxlength: 200, onkeydown: (event) => {
      if (event.key === "Enter" && input.value.trim()) this.#set(input.value.trim(), true);
    } });
    fill(this.element, this.tags.map((tag) => h("span", { class: "tag" }, h("span", { class: "tag-name" }, tag),
      h("button", { class: "plain", "aria-label": `Take the tag ${tag} away`, onclick: () => this.#set(tag, false) }, "×"))), input);
  }

  async #set(name, present) {
    const user = choice("user");
    if (!user) return notice("Write your name at the top right first: a tag says who set it.", "warn");
    try {
      await post(episodePath(this.id, "/tags"), { name, present, user });
      this.tags = present ? [...this.tags.filter((t) => t !== name), name].sort() : this.tags.filter((t) => t !== name);
      this.#show();
    } catch (error) {
      notice(`Tag not saved: ${error.message}`, "bad");
    }
  }
}
