// How an episode's row looks wherever rows are listed.

import { h } from "./dom.js";

export const OUTCOMES = new Map([[true, ["success", "good"]], [false, ["failure", "bad"]], [null, ["not judged", "none"]]]);

export function outcome(success) {
  const [text, kind] = OUTCOMES.get(success ?? null);
  return h("span", { class: `badge ${kind}` }, text);
}

/** ULIDs begin with their time; the end tells episodes apart. */
export const shortId = (id) => `…${id.slice(-6)}`;

// Made once: each toLocaleString() looks the locale up anew, which for a page of rows takes longer than to draw them.
const LOCAL_TIME = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });

/** `started` in nanoseconds, as local date and time. */
export const when = (started) => (started ? LOCAL_TIME.format(new Date(started / 1e6)) : "");

export const seconds = (s) => (s >= 60 ? `${Math.floor(s / 60)} min ${Math.round(s % 60)} s` : `${s.toFixed(1)} s`);
