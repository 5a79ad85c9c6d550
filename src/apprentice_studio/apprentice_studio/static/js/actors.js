// Who acted when: agents, people and scripts in one colour each, over all pages.

import { h } from "./dom.js";

const PEOPLE = /teleop|human|operator|spacemouse|vr/i;
const SCRIPTS = /expert|script|random|watcher|reset|home/i;

/** Colour variable of an actor's name. */
export function actorColour(name) {
  if (!name || name === "none") return "--actor-none";
  if (PEOPLE.test(name)) return "--actor-person";
  return SCRIPTS.test(name) ? "--actor-script" : "--actor-agent";
}

/** [{first, last, actor}] of an actor per step. */
export function actorStretches(actors) {
  const found = [];
  actors.forEach((actor, step) => {
    const open = found.at(-1);
    if (open?.actor === actor) open.last = step;
    else found.push({ first: step, last: step, actor });
  });
  return found;
}

/** A coloured bar over the length of the episode. */
export function actorBar(actors) {
  const parts = actorStretches(actors);
  const told = parts.map((p) => `${p.actor || "nobody"}: ${p.first}–${p.last}`).join(", ");
  const bar = h("svg", { class: "actor-bar", viewBox: `0 0 ${Math.max(1, actors.length)} 1`, preserveAspectRatio: "none", role: "img", "aria-label": `who acted: ${told}` },
    h("title", {}, told),
    parts.map((p) => h("rect", { x: p.first, y: 0, width: p.last - p.first + 1, height: 1, style: { fill: `var(${actorColour(p.actor)})` } })));
  return bar;
}

/** What the colours mean. */
export function actorLegend() {
  const kinds = [["--actor-agent", "agent"], ["--actor-person", "person"], ["--actor-script", "script"]];
  return h("span", { class: "actor-legend quiet" }, kinds.map(([colour, name]) => h("span", {},
    h("span", { class: "swatch", style: { background: `var(${colour})` } }), name)));
}
