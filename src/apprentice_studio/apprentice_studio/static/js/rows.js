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
  image.addEventListener("error",
    () => image.replaceWith(h("span", { class: "thumbnail none", title: "no picture of this episode" }, "no picture")));
  return image;
}

/** Resolves when a picture is drawn or has failed. */
export const settled = (image) => image.decode().catch(() => {});

/** ULIDs begin with their time; the end tells episodes apart. */
export const shortId = (id) => `…${id.slice(-6)}`;

// Made once: each toLocaleString() looks the locale up anew, which for a page of rows takes longer than to draw them.
const LOCAL_TIME = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });

/** `started` in nanoseconds, as local date and time. */
export const when = (started) => (started ? LOCAL_TIME.format(new Date(started / 1e6)) : "");

export const seconds = (s) => (s >= 60 ? `${Math.floor(s / 60)} min ${Math.round(s % 60)} s` : `${s.toFixed(1)} s`);
