// Routes of the page: #/NAME/ARGUMENT?QUERY. Each page is a module with mount(root, context), which returns how to leave it.

import { errorState, fill, h } from "./dom.js";
import { choice, choose, loadSession } from "./session.js";

const PAGES = {
  browse: { title: "Browse", load: () => import("./browse.js") },
  stats: { title: "Statistics", load: () => import("./stats.js") },
  sketch: { title: "Sketch", load: () => import("./sketch.js") },
  judge: { title: "Judge", load: () => import("./judge.js") },
  evaluations: { title: "Evaluations", load: () => import("./evaluations.js") },
  watch: { title: "Watch", load: () => import("./watch.js") },
};

const main = document.getElementById("main");
let leave = () => {};
let turn = 0;

export function parseRoute(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...rest] = path.split("/").map(decodeURIComponent);
  return { page: page in PAGES ? page : "browse", argument: rest.join("/"), query: new URLSearchParams(query) };
}

async function show() {
  const mine = ++turn;
  const route = parseRoute(location.hash);
  leave();
  leave = () => {};
  main.className = `page-${route.page}`;
  fill(main, h("p", { class: "quiet", role: "status" }, "Loading …"));
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.dataset.page === route.page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${PAGES[route.page].title} - Apprentice Studio`;
  try {
    const session = await ready();
    const module = await PAGES[route.page].load();
    if (mine !== turn) return;
    fill(main);
    const left = (await module.mount(main, { ...route, session })) ?? (() => {});
    if (mine === turn) leave = left;
    else left();
  } catch (error) {
    if (mine !== turn) return;
    const missing = error instanceof TypeError && /module/i.test(error.message);
    fill(main, errorState(missing ? new Error(`This server has no page "${PAGES[route.page].title}".`) : error, show));
  }
}

let session = null;
async function ready() {
  session ??= await loadSession();
  document.getElementById("folder").textContent = session.data_folder ?? "";
  fill(document.getElementById("users"), session.users.map((u) => h("option", { value: u })));
  return session;
}

fill(document.getElementById("nav"),
  Object.entries(PAGES).map(([name, page]) => h("a", { href: `#/${name}`, "data-page": name }, page.title)));
const user = document.getElementById("user");
user.value = choice("user");
user.addEventListener("change", () => choose("user", user.value.trim()));
addEventListener("choice", (event) => event.detail.name === "user" && show());
addEventListener("hashchange", show);
show();
// A page that is opened later should not have to wait for its code. One that this server lacks says so when it is opened.
addEventListener("load", () => requestIdleCallback(() => Object.values(PAGES).forEach((page) => page.load().catch(() => {}))));
