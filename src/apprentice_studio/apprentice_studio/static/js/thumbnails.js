// Small pictures of episodes. Those in sight are asked for in one request and drawn at once; those below follow as they come near.

import { get } from "./api.js";
import { h } from "./dom.js";

const ROW = 54; // pixels: no row of a list is lower than its picture
const AHEAD = 600; // pixels below the window
const MOST = 50; // pictures that the server gives in one answer

const ids = new WeakMap();
const running = new Set();
let fresh = [];
let near = [];

/** The picture of an episode, which comes by itself once the element is on the page. */
export function thumbnail(id, alt = "") {
  const image = h("img", { class: "thumbnail", alt });
  ids.set(image, id);
  if (!fresh.length) queueMicrotask(begin);
  fresh.push(image);
  return image;
}

/** Resolves when no picture is on its way. */
export const picturesCame = () => Promise.all(running);

function begin() {
  const images = fresh, fit = Math.ceil(innerHeight / ROW);
  fresh = [];
  // Not through the observer: it speaks only after the list was laid out and painted.
  start(images.slice(0, fit));
  for (const image of images.slice(fit)) observer.observe(image);
}

const observer = new IntersectionObserver((entries) => {
  const seen = entries.filter((e) => e.isIntersecting).map((e) => e.target);
  seen.forEach((image) => observer.unobserve(image));
  near.push(...seen);
  follow();
}, { rootMargin: `${AHEAD}px 0px` });

function start(images) {
  const work = load(images).finally(() => {
    running.delete(work);
    follow();
  });
  running.add(work);
}

/** Those that are near wait for those in sight. */
function follow() {
  if (running.size || !near.length) return;
  start(near.splice(0));
}

async function load(images) {
  let left = images;
  for (;;) {
    left = left.filter((image) => image.isConnected);
    if (!left.length) return;
    const asked = left.slice(0, MOST);
    let came;
    try {
      came = (await get("/api/thumbnails", { ids: asked.map((image) => ids.get(image)).join(",") })).thumbnails;
    } catch {
      left.forEach((image) => show(image, null));
      return;
    }
    // The server answers after a while with what it has drawn until then.
    for (const image of asked) if (ids.get(image) in came) show(image, came[ids.get(image)]);
    left = left.filter((image) => !(ids.get(image) in came));
  }
}

function show(image, address) {
  if (address) image.src = address;
  else image.replaceWith(h("span", { class: "thumbnail none", title: "no picture of this episode" }, "no picture"));
}
