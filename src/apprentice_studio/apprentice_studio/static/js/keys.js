// Keys of a page: one table gives both what they do and the help that shows them.

import { h, typing } from "./dom.js";

/**
 * Binds `table`, rows of [keys, what it does, action(event)] or [keys, what it does] for help alone. A key is written as
 * KeyboardEvent.key has it, with "Shift+" or "Ctrl+" before. Returns {release, help}.
 */
export function bindKeys(table, title) {
  const actions = new Map();
  for (const [keys, , action] of table) for (const key of keys) if (action) actions.set(key, action);
  const help = dialog(title, table);
  const press = (event) => {
    if (typing(event) || event.altKey) return;
    const action = actions.get(nameOf(event));
    if (!action) return;
    event.preventDefault();
    action(event);
  };
  actions.set("?", () => help.showModal());
  document.addEventListener("keydown", press);
  document.body.append(help);
  return {
    help: () => help.showModal(),
    release() {
      document.removeEventListener("keydown", press);
      help.remove();
    },
  };
}

function nameOf(event) {
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const named = event.key.length > 1 || control;
  const shift = event.shiftKey && named ? "Shift+" : "";
  return control + shift + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
}

const SHOWN = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const shown = (key) => key.split("+").map((k) => SHOWN[k] ?? (k || "+")).join(" + ");

function dialog(title, table) {
  return h("dialog", { class: "help", "aria-label": title },
    h("h2", {}, title),
    h("dl", {}, table.filter(([, what]) => what).map(([keys, what]) => h("div", {}, h("dt", {}, keys.map((k) => h("kbd", {}, shown(k)))), h("dd", {}, what)))),
    h("form", { method: "dialog" }, h("button", { class: "main" }, "Close")));
}
