// Elements are made here and nowhere else: text goes in as text, so nothing that the server sends can become HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "rect", "path", "line", "text", "title", "circle"]);

/**
 * An element: h("button", {class: "main", onclick: save, disabled: true}, "Save").
 * Attributes: functions named on... become listeners, `style` is an object, true and false switch, null is left out.
 * Children: nodes, texts, numbers, arrays of those; null and false are left out.
 */
export function h(tag, attributes = {}, ...children) {
  // An svg's <title> differs from the page's only by its namespace; pages make none of the latter.
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false)
    .map((c) => (c instanceof Node ? c : document.createTextNode(String(c))));
}

/** Replaces what is in `parent`. */
export function fill(parent, ...children) {
  parent.replaceChildren(...nodes(children));
  return parent;
}

/** True while keys belong to a field, a list or a dialog and not to the page. */
export function typing(event) {
  const target = event.target;
  if (target.closest?.("dialog[open]")) return true;
  if (target.matches?.("input:not([type=checkbox]):not([type=range]), textarea, select")) return true;
  return target.matches?.("button, a, summary, input") && (event.key === "Enter" || event.key === " ");
}

/** A short message at the foot of the page; `kind` is info, good, warn or bad. */
export function notice(text, kind = "info", seconds = kind === "bad" ? 12 : 5) {
  const box = h("div", { class: `notice ${kind}` }, h("span", {}, text),
    h("button", { class: "plain", "aria-label": "Close this message", onclick: () => box.remove() }, "×"));
  document.getElementById("notices").append(box);
  setTimeout(() => box.remove(), seconds * 1000);
  return box;
}

/** What a page shows instead of nothing. */
export function emptyState(title, ...hint) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("p", {}, ...hint));
}

/** An error that stays until it is mended, with a way to try again. */
export function errorState(error, retry = null) {
  return h("div", { class: "empty error", role: "alert" }, h("strong", {}, "This did not work"), h("p", {}, error.message ?? String(error)),
    retry && h("button", { onclick: retry }, "Try again"));
}

export function debounce(call, milliseconds) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...args), milliseconds);
  };
}
