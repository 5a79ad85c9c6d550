// Who sits here and what they work on: kept in this browser, told to the server with each request.

import { get } from "./api.js";

const KEY = "apprentice-studio";

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

const chosen = stored();

/** A choice that outlives the page: user, task, queue mode, hidden panels. */
export function choice(name, fallback = "") {
  return chosen[name] ?? fallback;
}

export function choose(name, value) {
  chosen[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(chosen));
  } catch {
    // private windows: the choice lasts as long as the page
  }
  dispatchEvent(new CustomEvent("choice", { detail: { name, value } }));
}

/** What GET /api/session says; `successThreshold` is the lower edge of the green band. */
export async function loadSession() {
  const said = await get("/api/session");
  return { ...said, users: said.users ?? [], tasks: said.tasks ?? [], successThreshold: said.success_threshold ?? 0.85 };
}
