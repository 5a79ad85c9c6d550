// Bars for tables of numbers: the same numbers stand beside them as text, so a chart is never the only way to read them.

import { h } from "./dom.js";

const ROW = 26;
const LABEL = 170;
const VALUE = 90;
const WIDTH = 560;

/** One horizontal bar per {name, value, text, low, high, kind}; `most`: the value of a full bar. */
export function bars(rows, label, most = Math.max(...rows.map((r) => r.value), 1e-9)) {
  const space = WIDTH - LABEL - VALUE;
  const x = (value) => LABEL + (Math.min(most, Math.max(0, value)) / most) * space;
  return h("svg", { class: "bars", viewBox: `0 0 ${WIDTH} ${rows.length * ROW}`, role: "img", "aria-label": label },
    rows.map((row, i) => h("g", {},
      h("title", {}, `${row.name}: ${row.text}`),
      h("text", { class: "label", x: LABEL - 8, y: i * ROW + 17, "text-anchor": "end" }, shortened(row.name)),
      h("rect", { class: "track", x: LABEL, y: i * ROW + 6, width: space, height: 14, rx: 3 }),
      h("rect", { class: `bar ${row.kind ?? ""}`, x: LABEL, y: i * ROW + 6, width: Math.max(0, x(row.value) - LABEL), height: 14, rx: 3 }),
      row.low !== undefined && h("path", {
        class: "interval", d: `M${x(row.low)} ${i * ROW + 13}H${x(row.high)}M${x(row.low)} ${i * ROW + 8}v10M${x(row.high)} ${i * ROW + 8}v10`,
      }),
      h("text", { x: WIDTH - VALUE + 8, y: i * ROW + 17 }, row.text))));
}

const shortened = (name) => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

/** A table of rows of texts or nodes; columns that begin with "#" hold numbers. */
export function table(columns, rows) {
  const numeric = columns.map((c) => c.startsWith("#"));
  return h("table", {},
    h("thead", {}, h("tr", {}, columns.map((c, i) => h("th", { scope: "col", class: numeric[i] ? "number" : null }, c.replace(/^#/, ""))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value, i) => h("td", { class: numeric[i] ? "number" : null }, value))))));
}
