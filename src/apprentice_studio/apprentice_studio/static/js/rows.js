// How an episode's row looks wherever rows are listed.

import { episodePath } from "./api.js";
import { h } from "./dom.js";

export const OUTCOMES = new Map([[true, ["success", "good"]], [false, ["failure", "bad"]], [null, ["not judged", "none"]]]);

export function outcome(success) {
  const [text, kind] = OUTCOMES.get(success ?? null);
  return h("span", { class: `badge ${kind}` }, text);
}

export function thumbnail(id, alt = "") {
  const image = h("img", { class: "thumbnail", src: episodePath(id, "/thumbnail.png"), alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(h("span", { class: "thumbnail none", title: "no picture of this episode" }, "no picture")));
  return image;
}

/** ULIDs begin with their time; the end tells episodes apart. */
export const shortId = (id) => `…${id.slice(-6)}`;

/** `started` in nanoseconds, as local date and time. */
export function when(started) {
  return started ? new Date(started / 1e6).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "";
}

export const seconds = (s) => (s >= 60 ? `${Math.floor(s / 60)} min ${Math.round(s % 60)} s` : `${s.toFixed(1)} s`);
